// Passes: each makes a new graph from a captured one that leaves the same bytes behind. Barriers are placed anew, from the
// byte ranges; where they were placed by hazard tracking, no pass makes them more. Parameters follow their dispatches. A pass
// that cannot fail gives back the graph as it is where there is no memory for a new one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "halyard/hal/buffer.h"
#include "halyard/hal/graph.h"
#include "halyard/hal/record.h"

namespace halyard {

/// Memory that is the graph's own while it runs: nobody wrote it for the graph, and nobody reads it afterwards. Placeholders
/// are that without being named here.
struct Scratch {
  std::vector<Buffer> windows;
};

/// Drops dispatches all of whose written bytes are overwritten, or scratch, before anybody reads them. Kernels that declare
/// no writes stay.
ComputeGraph remove_dead(const ComputeGraph&, const Scratch& = {});

/// Moves each dispatch to the first phase (what runs between two barriers) that its hazards allow, keeping the recorded order
/// within a phase. There are then as many phases as the longest chain of hazards has dispatches: no order needs fewer.
ComputeGraph reorder(const ComputeGraph&);

/// A graph whose scratch lies elsewhere.
struct PlannedGraph {
  ComputeGraph graph;
  Scratch scratch;               ///< what it uses as scratch now
  std::size_t bytes_before = 0;  ///< bytes of scratch that dispatches bind
  std::size_t bytes_after = 0;
};
enum class Sharing : std::uint8_t {
  none,    ///< bytes of its own for each value: no hazard is left but of values that are read
  phases,  ///< values share bytes where the last phase that uses one comes before the first that uses the other
};
/// Memory of at least so many bytes, aligned to 64: what graphs that never run at once may share.
using PlaceMemory = std::function<Result<Buffer>(std::size_t bytes)>;
struct PlanMemoryOptions {
  Sharing sharing = Sharing::phases;
  PlaceMemory memory = {};  ///< null: newly allocated
};
/// Gives the values in scratch new places in one allocation. A value is what some dispatches wrote and others read of it;
/// memory that is overwritten without being read holds another one. Those that lie in scratch only in part stay where they
/// are. Sharing by phases needs no further barrier, since there is one between any two phases already. Places keep their
/// alignment, up to 64 bytes. Errors: no memory.
Result<PlannedGraph> plan_memory(const ComputeGraph&, const Scratch&, const PlanMemoryOptions& = {});

/// How one dispatch does the work of several: of producers and of the consumer that reads what they wrote.
struct Joined {
  struct From {
    std::uint32_t part, binding;
  };
  std::vector<From> bindings;  ///< whose window each is; read or written as that part reads or writes it
  Constants constants = {};
  /// Whether a part that works in place may still do so: each byte is written by the tile that alone reads it.
  bool in_place = false;
  /// Where each part's constants stand within the fused ones, so that parameters find their place; absent: nowhere.
  std::vector<std::optional<std::uint32_t>> constants_at = {};
};

/// What may be fused. The framework answers for hazards and for liveness, the fused kernel's form for how it is cut up; a rule
/// says only that its kernel does what the parts do, with these windows and constants. Parts are named, so that an op need not
/// see another's declarations.
struct FusionRule {
  std::vector<std::string_view> producers;  ///< kernels, at least one; a part each
  std::string_view consumer;                ///< a kernel that reads what each producer wrote
  const KernelDef* fused = nullptr;  ///< its forms decide the launch; devices that it has none for leave the rule out
  /// What the fused dispatch binds, if the parts are as the rule wants them: the producers in the order above, then the
  /// consumer. It reads their bindings and arguments, not how a device cuts them up.
  std::optional<Joined> (*join)(std::span<const Record> parts) = nullptr;
};

/// Applies the rules until none applies. What a part writes and the fused dispatch does not must be dead afterwards; the
/// producers must be free to move to the consumer's place, or a single producer's consumer to its; there must be no more
/// barriers than before. Errors: a fused kernel that does not compile, or whose form does not decide its launch.
Result<ComputeGraph> fuse(const ComputeGraph&, std::span<const FusionRule>, const Scratch& = {});

struct OptimizeOptions {
  Scratch scratch;
  std::span<const FusionRule> rules;
  PlaceMemory memory = {};  ///< as plan_memory's
};
/// All passes, in the order in which they help each other: values get memory of their own first, so that memory used again
/// stands in the way of neither fusion nor order, and share it again last.
Result<PlannedGraph> optimize(const ComputeGraph&, const OptimizeOptions&);

}  // namespace halyard

// The CPU driver: memory from the system, kernels from their tables, work done by the team.
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <span>
#include <string>
#include <system_error>
#include <thread>

#include <fmt/format.h>

#include "halyard/hal/cpu/available_memory.h"
#include "halyard/hal/cpu/team.h"
#include "halyard/hal/driver.h"
#include "halyard/hal/plan_state.h"
#include "halyard/hal/submission.h"

namespace halyard {
namespace {

// From here on memory is mapped for itself, on huge pages where the system gives them: the weights of a model are read
// once a token, and small pages would cost a TLB miss each 4 KiB.
constexpr std::size_t mapped_from = std::size_t{1} << 20;
constexpr std::size_t huge_page = std::size_t{2} << 20;

std::size_t physical_memory() {
  return static_cast<std::size_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name"))
      if (const auto colon = line.find(": "); colon != line.npos) return line.substr(colon + 2);
  return "CPU";
}

std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }
std::size_t page_size() { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

/// The whole pages that memory touches.
std::span<std::byte> pages_of(const Memory& m) {
  const auto at = static_cast<std::uintptr_t>(m.address);
  const std::uintptr_t begin = at / page_size() * page_size(), end = round_up(at + m.bytes, page_size());
  return {reinterpret_cast<std::byte*>(begin), end - begin};
}

Error why_not_pinned(int error) {
  rlimit most{};
  ::getrlimit(RLIMIT_MEMLOCK, &most);
  if ((error == ENOMEM || error == EPERM || error == EAGAIN) && most.rlim_cur != RLIM_INFINITY)
    return {Errc::out_of_memory,
            fmt::format("the system lets this process pin {} kB: raise `ulimit -l`", most.rlim_cur / 1000),
            {}};
  return {
      Errc::unsupported, fmt::format("the system does not pin memory: {}", std::generic_category().message(error)), {}};
}

class CpuDriver final : public Driver {
 public:
  CpuDriver(const DeviceOptions& o, int threads, bool take_over)
      : isa_(std::min(o.cpu.isa.value_or(best_isa()), best_isa())),
        pin_limit_(o.cpu.pin ? available_memory() / 4 * 3 : 0),
        team_(threads, o.timeout.count() > 0, take_over) {
    capabilities_ = {.backend = "cpu",
                     .name = processor_name(),
                     .isa = std::string(to_string(isa_)),
                     .threads = threads,
                     .memory_bytes = physical_memory(),
                     .max_shared_bytes = cpu::max_shared_bytes,
                     .host_visible = true};
  }

  Result<void> start() { return team_.start(); }

  const Capabilities& capabilities() const override { return capabilities_; }
  Backend backend() const override { return Backend::cpu; }

  Result<Memory> allocate(std::size_t bytes) override {
    void* p = bytes < mapped_from ? small(bytes) : mapped(bytes);
    if (!p) return tl::unexpected(Error{Errc::out_of_memory, fmt::format("no memory for {} bytes", bytes), {}});
    return memory_at(p, bytes);
  }
  void free(const Memory& m) override {
    if (m.bytes < mapped_from) std::free(cpu_address(m));
    else ::munmap(cpu_address(m), m.bytes);
  }
  Result<Memory> import(const void* data, std::size_t bytes) override {
    return memory_at(const_cast<void*>(data), bytes);
  }
  Result<void> write(const Memory& to, std::size_t offset, std::span<const std::byte> from) override {
    std::memcpy(cpu_address(to) + offset, from.data(), from.size());
    return {};
  }
  Result<void> read(const Memory& from, std::size_t offset, std::span<std::byte> to) override {
    std::memcpy(to.data(), cpu_address(from) + offset, to.size());
    return {};
  }

  // MLOCK_ONFAULT keeps the pages that are touched, when they are: a file is not read in, and 700 MB take 0.4 ms fresh or on
  // huge pages, 45 ms as a file's small pages all mapped already. Windows of one file may share pages: the first to go
  // takes the edge along, which costs no more than having it read again.
  Result<void> pin(const Memory& m) override {
    if (!pinnable(m)) return {};
    const std::lock_guard lock(pins_mutex_);
    if (m.bytes > pin_limit_ - pinned_bytes_)
      return fail(
          Errc::out_of_memory,
          fmt::format("at most {} MB are pinned, three quarters of the memory that was free", pin_limit_ / 1'000'000));
    const std::span<std::byte> pages = pages_of(m);
    if (::mlock2(pages.data(), pages.size(), MLOCK_ONFAULT) != 0) return fail(why_not_pinned(errno));
    pinned_bytes_ += m.bytes;
    return {};
  }
  void unpin(const Memory& m) override {
    if (!pinnable(m)) return;
    const std::span<std::byte> pages = pages_of(m);
    const std::lock_guard lock(pins_mutex_);
    ::munlock(pages.data(), pages.size());
    pinned_bytes_ -= m.bytes;
  }
  PinnedMemory pinned_memory() const override {
    const std::lock_guard lock(pins_mutex_);
    return {pinned_bytes_, pin_limit_};
  }

  Result<std::unique_ptr<CompiledKernel>> compile(const KernelDef& def, const Constants& specialisation) override {
    return compile_cpu_form(def, isa_, specialisation);
  }

  Result<std::unique_ptr<const PreparedPlan>> prepare(const PlanState& p) override {
    return cpu::prepare_plan(p, team_.threads());
  }
  Result<void> make_ready(Submission& s) override {
    team_.make_ready(s);
    return {};
  }
  void submit(std::shared_ptr<Submission> s, bool will_wait) noexcept override {
    team_.submit(std::move(s), will_wait);
  }
  void wait(std::uint64_t sequence) override { team_.wait(sequence); }
  bool wait_for(std::uint64_t sequence, std::chrono::milliseconds timeout) override {
    return team_.wait_for(sequence, timeout);
  }

 private:
  static Memory memory_at(void* p, std::size_t bytes) { return {reinterpret_cast<std::uintptr_t>(p), p, bytes}; }
  static void* small(std::size_t bytes) {
    const std::size_t rounded = round_up(std::max<std::size_t>(bytes, 1), 64);
    void* p = std::aligned_alloc(64, rounded);
    if (p) std::memset(p, 0, rounded);
    return p;
  }
  static void* mapped(std::size_t bytes) {
    // Over-map, then cut to a huge-page boundary.
    auto* raw = static_cast<std::byte*>(
        ::mmap(nullptr, bytes + huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (raw == MAP_FAILED) return nullptr;
    auto* p = reinterpret_cast<std::byte*>(round_up(reinterpret_cast<std::uintptr_t>(raw), huge_page));
    const std::size_t page = page_size();
    std::byte* end = p + round_up(bytes, page);
    if (p != raw) ::munmap(raw, static_cast<std::size_t>(p - raw));
    if (raw + bytes + huge_page > end)
      ::munmap(end, static_cast<std::size_t>(raw + round_up(bytes + huge_page, page) - end));
    ::madvise(p, bytes, MADV_HUGEPAGE);
    return p;
  }

  /// Memory that others share pages with is left alone, and so small that it hardly matters.
  bool pinnable(const Memory& m) const { return pin_limit_ > 0 && m.bytes >= mapped_from; }

  Isa isa_;
  Capabilities capabilities_;
  // Three quarters of what the system could give leave room for the rest of this process and for others. Metal
  // recommends the same share as a GPU's working set (MTLDevice.recommendedMaxWorkingSetSize).
  std::size_t pin_limit_;
  mutable std::mutex pins_mutex_;
  std::size_t pinned_bytes_ = 0;
  cpu::Team team_;
};

}  // namespace

Result<std::unique_ptr<Driver>> open_cpu_driver(const DeviceOptions& o, bool take_over) {
  constexpr int most = CpuOptions::max_threads;
  const int asked = o.cpu.threads;
  if (asked < 0 || asked > most)
    return fail(Errc::invalid_argument,
                fmt::format("threads: expected 1 to {}, or 0 for one a core; got {}", most, asked));
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  const int threads = asked ? asked : std::min(cores, most);
  auto driver = std::make_unique<CpuDriver>(o, o.validate ? 1 : threads, take_over);
  HALYARD_TRY(driver->start());
  return driver;
}

DeviceInfo cpu_device_info() { return {"cpu", processor_name(), physical_memory()}; }

}  // namespace halyard

#include "halyard/engine/sequence.h"

#include <algorithm>
#include <bit>
#include <chrono>

#include <fmt/format.h>

#include "halyard/base/guarded.h"

namespace halyard::engine {
namespace {

constexpr std::size_t kMaxLogits = std::size_t{1}
                                   << 24;  // elements of one chunk's logits, where all positions are wanted
constexpr std::size_t kStep = 512, kRotatingStep = 2048;
constexpr std::size_t kKeep = 4;  // positions that a rotating cache never drops: mlx-lm's number

std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

}  // namespace

bool all_finite(std::span<const float> values) {
  std::uint32_t greatest = 0;
  for (const float v : values) greatest = std::max(greatest, std::bit_cast<std::uint32_t>(v) & 0x7fffffffU);
  return greatest < 0x7f800000U;
}

Sequence::Sequence(SequenceOptions options, std::size_t step, KvCache cache, Steps steps)
    : options_(options),
      step_(step),
      cache_(std::move(cache)),
      steps_(std::move(steps)),
      stages_(steps_.model().device(), options.use_session) {}

Result<Sequence> Sequence::make(models::Model model, SequenceOptions options) {
  return guarded([&]() -> Result<Sequence> {
    const models::ModelInfo& info = model.info();
    // Where positions are dropped, the text depends on where chunks end.
    if (options.prefill_step == 0) options.prefill_step = options.max_kv_size ? kRotatingStep : kStep;
    KvCacheOptions cache{.dtype = kv_dtype(model),
                         .limit = options.max_kv_size ? options.max_kv_size : info.max_positions,
                         .rotating = options.max_kv_size != 0,
                         .keep = kKeep};
    const std::size_t step = cache.rotating ? options.prefill_step : std::min(options.prefill_step, cache.limit);
    cache.step = step;
    KvCache pages = HALYARD_TRY(KvCache::make(model.device(), info.layers, cache));
    Steps steps(std::move(model), {pages.layers().begin(), pages.layers().end()}, pages.max_pages(), options.fused);
    return Sequence(options, step, std::move(pages), std::move(steps));
  });
}

Result<std::span<float>> Sequence::read(std::span<const std::int32_t> tokens, const Progress& progress) {
  std::span<float> last;
  const Sink keep = [&](std::size_t, std::span<float> logits) -> Result<void> {
    last = logits;
    return {};
  };
  HALYARD_TRY(read_chunks(tokens, Want::last, keep, progress));
  return last;
}

Result<void> Sequence::read_all(std::span<const std::int32_t> tokens, const Sink& sink, const Progress& progress) {
  return read_chunks(tokens, Want::all, sink, progress);
}

Result<void> Sequence::read_chunks(std::span<const std::int32_t> tokens, Want want, const Sink& sink,
                                   const Progress& progress) {
  const std::size_t start = cache_.position();
  cache_.mark();
  Result<void> done = guarded([&] { return read_in_chunks(tokens, want, sink, progress); });
  if (!done) {
    stages_.reset();
    cache_.roll_back(start);
  }
  return done;
}

Result<void> Sequence::read_in_chunks(std::span<const std::int32_t> tokens, Want want, const Sink& sink,
                                      const Progress& progress) {
  HALYARD_TRY(check(tokens));
  const std::size_t all = std::max<std::size_t>(kMaxLogits / model().info().vocab_size, 1);
  const std::size_t step = want == Want::all ? std::min(step_, all) : step_;
  for (std::size_t first = 0, n = 0; first < tokens.size(); first += n) {
    const std::size_t left = tokens.size() - first;
    // A rotating cache reads the last token by itself, as mlx-lm does: it then sees the kept positions too.
    n = std::min(step, cache_.rotating() && left > 1 ? left - 1 : left);
    const bool last = first + n == tokens.size();
    const StepPart::Want part = want == Want::all ? StepPart::Want::all
                                : last            ? StepPart::Want::last
                                                  : StepPart::Want::none;
    if (const Buffer logits = HALYARD_TRY(read_chunk(tokens.subspan(first, n), part))) {
      const std::span<float> values = HALYARD_TRY(host_values(model().device(), logits, host_logits_));
      if (!all_finite(values)) {
        return fail(Errc::kernel_failed,
                    fmt::format("logits are not finite (NaN or infinite) after token {}: the weights "
                                "hold such values, or the arithmetic overflowed",
                                cache_.position()));
      }
      HALYARD_TRY(sink(want == Want::all ? first : tokens.size() - 1, values));
    }
    if (!last && progress) HALYARD_TRY(progress(first + n, tokens.size()));
  }
  return {};
}

/// Submits one chunk; waits for it where logits are wanted.
Result<Buffer> Sequence::read_chunk(std::span<const std::int32_t> tokens, StepPart::Want want) {
  const std::size_t n = tokens.size(), at = cache_.position();
  CommandEncoder* encoder =
      HALYARD_TRY(stages_.begin(n == 1 ? fmt::format("decode {}", at) : fmt::format("prefill {}..{}", at, at + n - 1)));
  const Placement placement = HALYARD_TRY(cache_.reserve(*encoder, n));
  const StepPart part{.tokens = tokens,
                      .position = at,
                      .slots = placement.slots,
                      .held = placement.held,
                      .window = placement.window,
                      .pages = cache_.pages(),
                      .slot_from = placement.slot_from,
                      .slot_to = placement.slot_to,
                      .want = want};
  const std::uint64_t start = now_ns();
  Buffer logits = HALYARD_TRY(steps_.record(*encoder, std::span(&part, 1)));
  record_ns_ += now_ns() - start;
  HALYARD_TRY(logits ? stages_.finish() : stages_.end());
  cache_.commit();
  return logits;
}

Result<void> Sequence::check(std::span<const std::int32_t> tokens) const {
  if (cache_.is_lost()) {
    return fail(Errc::invalid_state,
                "a read failed that had dropped positions already: what the model remembers is gone, start again");
  }
  if (tokens.empty()) return fail(Errc::invalid_argument, "there are no tokens to read: the prompt is empty");
  HALYARD_TRY(check_tokens(model(), tokens));
  const std::size_t length = cache_.position() + tokens.size();
  if (!cache_.rotating() && length > cache_.limit()) {
    return fail(Errc::limit_exceeded,
                fmt::format("the text is {} tokens long, the model's context {}", length, cache_.limit()));
  }
  if (length > static_cast<std::size_t>(INT32_MAX))
    return fail(Errc::limit_exceeded, "the text is longer than 2^31 tokens");
  return {};
}

std::size_t Sequence::bytes() const { return cache_.bytes() + steps_.bytes(); }

}  // namespace halyard::engine

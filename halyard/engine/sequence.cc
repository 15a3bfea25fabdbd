#include "halyard/engine/sequence.h"

#include <algorithm>
#include <bit>
#include <chrono>

#include <fmt/format.h>

#include "halyard/base/guarded.h"


namespace halyard::engine {
namespace {

constexpr std::size_t kLayersPerStage = 4;
constexpr std::size_t kMaxLogits = std::size_t{1}
                                   << 24;  // elements of one chunk's logits, where all positions are wanted
constexpr std::size_t kStep = 512, kRotatingStep = 2048;
constexpr std::size_t kKeep = 4;           // positions that a rotating cache never drops: mlx-lm's number

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

Sequence::Sequence(models::Model model, SequenceOptions options, std::size_t step, KvCache cache,
                   std::unique_ptr<models::Workspace> workspace)
    : model_(std::move(model)),
      options_(options),
      step_(step),
      cache_(std::move(cache)),
      workspace_(std::move(workspace)),
      stages_(model_.device(), options.use_session),
      told_(cache_.max_pages()) {}

Result<Sequence> Sequence::make(models::Model model, SequenceOptions options) {
  const models::ModelInfo& info = model.info();
  // Where positions are dropped, the text depends on where chunks end.
  if (options.prefill_step == 0) options.prefill_step = options.max_kv_size ? kRotatingStep : kStep;
  KvCacheOptions cache{.dtype = kv_dtype(model),
                       .limit = options.max_kv_size ? options.max_kv_size : info.max_positions,
                 .step = 0,
                       .rotating = options.max_kv_size != 0,
                       .keep = kKeep};
  const std::size_t step = cache.rotating ? options.prefill_step : std::min(options.prefill_step, cache.limit);
  cache.step = step;
  auto workspace = HALYARD_TRY(model.workspace(step));
  Device device = model.device();
  KvCache pages = HALYARD_TRY(KvCache::make(device, info.layers, cache));
  Sequence s(std::move(model), options, step, std::move(pages), std::move(workspace));
  for (Buffer& b : s.inputs_)
    b = HALYARD_TRY(device.alloc(DType::i32, {StepInputs::size(step, 0, 1, s.cache_.max_pages())}));
  HALYARD_TRY(s.ensure_logits(1));
  return s;
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
  const std::size_t rows = std::clamp<std::size_t>(kMaxLogits / model_.info().vocab_size, 1, step_);
  HALYARD_TRY(ensure_logits(std::min(rows, tokens.size())));
  return read_chunks(tokens, Want::all, sink, progress);
}

Result<void> Sequence::read_chunks(std::span<const std::int32_t> tokens, Want want, const Sink& sink,
                                   const Progress& progress) {
  const std::size_t start = cache_.position();
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
  const std::size_t vocab = model_.info().vocab_size;
  const std::size_t step = want == Want::all ? std::min(step_, logits_.shape()[0]) : step_;
  std::size_t chunks = 0;
  for (std::size_t first = 0, n = 0; first < tokens.size(); first += n, ++chunks) {
    const std::size_t left = tokens.size() - first;
    // A rotating cache reads the last token by itself, as mlx-lm does: it then sees the kept positions too.
    n = std::min(step, cache_.rotating() && left > 1 ? left - 1 : left);
    const bool last = first + n == tokens.size();
    const std::size_t rows = want == Want::all ? n : last ? 1 : 0;
    const Buffer logits = rows ? HALYARD_TRY(logits_.view(0, DType::f32, {rows, vocab})) : Buffer();
    HALYARD_TRY(read_chunk(tokens.subspan(first, n), chunks % inputs_.size(), logits));
    if (rows) {
      const std::span<float> values = HALYARD_TRY(host_logits(rows));
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

/// Records one chunk and submits it, in stages where it is more than a token; waits for it where logits are wanted.
Result<void> Sequence::read_chunk(std::span<const std::int32_t> tokens, std::size_t slot_index, const Buffer& logits) {
  const std::size_t n = tokens.size(), at = cache_.position();
  const std::size_t layers = model_.info().layers.size();
  const std::size_t block = n == 1 ? layers : kLayersPerStage;
  const auto label = [&](std::size_t layer) {
    return n == 1
               ? fmt::format("decode {}", at)
               : fmt::format("prefill {}..{} layers {}-{}", at, at + n - 1, layer, std::min(layer + block, layers) - 1);
  };
  CommandEncoder* encoder = HALYARD_TRY(stages_.begin(label(0)));
  const Placement placement = HALYARD_TRY(cache_.reserve(*encoder, n));
  told_.clear();
  told_.add(tokens, at, placement.slots, placement.held, placement.window, cache_.pages());
  models::Chunk chunk = HALYARD_TRY(told_.write(inputs_[slot_index]));
  chunk.cache = cache_.layers();
  chunk.logits = logits;

  std::uint64_t submitting = 0;
  const models::NextEncoder next = [&](std::size_t layer) -> Result<CommandEncoder*> {
    if (layer == 0 || layer % block != 0) return encoder;
    const std::uint64_t start = now_ns();
    HALYARD_TRY(stages_.end());
    encoder = HALYARD_TRY(stages_.begin(label(layer)));
    submitting += now_ns() - start;
    return encoder;
  };
  const std::uint64_t start = now_ns();
  if (options_.use_plan && n == 1 && slot_index == 0 && logits) HALYARD_TRY(replay_decode(*encoder, chunk));
  else HALYARD_TRY(model_.record(next, *workspace_, chunk));
  record_ns_ += now_ns() - start - submitting;
  HALYARD_TRY(logits ? stages_.finish() : stages_.end());
  cache_.commit();
  return {};
}

/// Records one token's work where there is no plan of it, and replays it.
Result<void> Sequence::replay_decode(CommandEncoder& encoder, const models::Chunk& chunk) {
  if (!decode_ || decode_logits_.allocation() != chunk.logits.allocation()) {
    decode_.reset();
    decode_ = HALYARD_TRY(plan_step(encoder, model_, *workspace_, chunk, options_.optimize_plan));
    decode_logits_ = chunk.logits;
  }
  return encoder.replay(decode_->plan);
}

Result<void> Sequence::check(std::span<const std::int32_t> tokens) const {
  if (cache_.is_lost()) {
    return fail(Errc::invalid_state,
                "a read failed that had dropped positions already: what the model remembers is gone, start again");
  }
  if (tokens.empty()) return fail(Errc::invalid_argument, "there are no tokens to read: the prompt is empty");
  HALYARD_TRY(check_tokens(model_, tokens));
  const std::size_t length = cache_.position() + tokens.size();
  if (!cache_.rotating() && length > cache_.limit()) {
    return fail(Errc::limit_exceeded,
                fmt::format("the text is {} tokens long, the model's context {}", length, cache_.limit()));
  }
  if (length > static_cast<std::size_t>(INT32_MAX))
    return fail(Errc::limit_exceeded, "the text is longer than 2^31 tokens");
  return {};
}

Result<void> Sequence::ensure_logits(std::size_t rows) {
  if (logits_ && logits_.shape()[0] >= rows) return {};
  logits_ = HALYARD_TRY(Device(model_.device()).alloc(DType::f32, {rows, model_.info().vocab_size}));
  return {};
}

Result<std::span<float>> Sequence::host_logits(std::size_t rows) {
  Buffer view = HALYARD_TRY(logits_.view(0, DType::f32, {rows, model_.info().vocab_size}));
  return host_values(model_.device(), std::move(view), host_logits_);
}

std::size_t Sequence::bytes() const {
  return cache_.bytes() + workspace_->bytes() + logits_.size_bytes() + (decode_ ? decode_->scratch_bytes : 0);
}

}  // namespace halyard::engine

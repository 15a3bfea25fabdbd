#include "halyard/models/synthetic.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <type_traits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "halyard/base/float16.h"

namespace halyard::models {
namespace {

struct SyntheticShape {
  std::string_view name, model_type;
  std::size_t hidden, layers, heads, kv_heads, head_dim, intermediate, vocab;
  bool tied;
  double rope_theta;
};

constexpr SyntheticShape kShapes[] = {
    {"llama-3.2-1b", "llama", 2048, 16, 32, 8, 64, 8192, 128256, true, 500000},
    {"llama-3.2-3b", "llama", 3072, 28, 24, 8, 128, 8192, 128256, true, 500000},
    {"llama-3.1-8b", "llama", 4096, 32, 32, 8, 128, 14336, 128256, false, 500000},
    {"qwen3-0.6b", "qwen3", 1024, 28, 16, 8, 128, 3072, 151936, true, 1000000},
    {"gutenberg-29m", "qwen3", 512, 8, 8, 4, 64, 1536, 8192, true, 10000},
};

constexpr std::size_t kGroup = 64;
constexpr std::size_t kBlock = std::size_t{1} << 20;  // elements of the random block that matrices are filled from

template <class T> T from_float(float x) {
  if constexpr (std::is_same_v<T, f16>) return to_f16(x);
  if constexpr (std::is_same_v<T, bf16>) return to_bf16(x);
  if constexpr (std::is_same_v<T, float>) return x;
}

}  // namespace

Result<SyntheticFormat> synthetic_format(std::string_view name) {
  using quant::Format;
  if (name == "q4") return SyntheticFormat{Format::affine, 4, DType::bf16};
  if (name == "q8") return SyntheticFormat{Format::affine, 8, DType::bf16};
  if (name == "bf16") return SyntheticFormat{Format::dense, 0, DType::bf16};
  if (name == "f16") return SyntheticFormat{Format::dense, 0, DType::f16};
  if (name == "f32") return SyntheticFormat{Format::dense, 0, DType::f32};
  return fail(Errc::invalid_argument,
              fmt::format("unknown weight format \"{}\"; known are q4, q8, bf16, f16, f32", name));
}

std::vector<std::string_view> synthetic_shapes() {
  std::vector<std::string_view> names;
  for (const SyntheticShape& s : kShapes) names.push_back(s.name);
  return names;
}

Result<Json> synthetic_config(std::string_view shape) {
  for (const SyntheticShape& s : kShapes) {
    if (s.name != shape) continue;
    return Json::object({{"model_type", s.model_type},
                         {"hidden_size", s.hidden},
                         {"num_hidden_layers", s.layers},
                         {"num_attention_heads", s.heads},
                         {"num_key_value_heads", s.kv_heads},
                         {"head_dim", s.head_dim},
                         {"intermediate_size", s.intermediate},
                         {"vocab_size", s.vocab},
                         {"tie_word_embeddings", s.tied},
                         {"rope_theta", s.rope_theta},
                         {"rms_norm_eps", 1e-5},
                         {"max_position_embeddings", 131072}});
  }
  return fail(Errc::invalid_argument,
              fmt::format("unknown shape \"{}\"; known are {}", shape, fmt::join(synthetic_shapes(), ", ")));
}

Result<quant::MatrixView> SyntheticWeights::matrix(const std::string& name, std::size_t n, std::size_t k) {
  if (embedding_ && embedding_->name == name) return *embedding_;
  const bool affine = format_.format == quant::Format::affine;
  const std::size_t data_bytes =
      affine ? n * k * static_cast<std::size_t>(format_.bits) / 8 : n * k * size_of(format_.dtype);
  const std::size_t scale_bytes = affine ? n * (k / kGroup) * size_of(format_.dtype) : 0;
  const auto memory = std::shared_ptr<std::byte[]>(new (std::nothrow) std::byte[data_bytes + 2 * scale_bytes]);
  if (!memory)
    return fail(Errc::out_of_memory, fmt::format("{}: no memory for {} bytes", name, data_bytes + 2 * scale_bytes));
  const std::span<std::byte> data(memory.get(), data_bytes), scales(memory.get() + data_bytes, scale_bytes),
      biases(memory.get() + data_bytes + scale_bytes, scale_bytes);

  quant::MatrixView view;
  view.name = name;
  view.format = format_.format;
  view.n = n;
  view.k = k;
  view.dtype = format_.dtype;
  view.owner = memory;
  view.data = data;
  const double deviation = 1 / std::sqrt(static_cast<double>(k));
  if (affine) {
    // q is uniform on 0 … 2^bits - 1, of variance (4^bits - 1) / 12; the bias takes its mean away.
    const double levels = std::exp2(format_.bits);
    const double scale = deviation / std::sqrt((levels * levels - 1) / 12);
    view.bits = format_.bits;
    view.group_size = kGroup;
    view.scales = scales;
    view.biases = biases;
    fill(data, random_words());
    const bf16 s = to_bf16(static_cast<float>(scale)), b = to_bf16(static_cast<float>(-to_float(s) * (levels - 1) / 2));
    for (std::size_t i = 0; i < scale_bytes; i += sizeof(bf16)) {
      std::memcpy(scales.data() + i, &s, sizeof(bf16));
      std::memcpy(biases.data() + i, &b, sizeof(bf16));
    }
  } else {
    const double range = deviation * std::sqrt(3.0);  // uniform on ±range
    fill(data, format_.dtype == DType::f32   ? random_floats<float>(range)
               : format_.dtype == DType::f16 ? random_floats<f16>(range)
                                             : random_floats<bf16>(range));
  }
  if (!embedding_) embedding_ = view;
  return view;
}

Result<VectorData> SyntheticWeights::values(const std::string&, std::span<const Shape> shapes) {
  const std::size_t n = shapes[0].elements();
  return VectorData{std::vector<float>(n, 1.0F), n * size_of(format_.dtype)};
}

/// Repeats the block from a random place on.
void SyntheticWeights::fill(std::span<std::byte> out, const Bytes& block) {
  std::size_t at = random() % (block.size() / 8) * 8;
  while (!out.empty()) {
    const std::size_t n = std::min(out.size(), block.size() - at);
    std::memcpy(out.data(), block.data() + at, n);
    out = out.subspan(n);
    at = 0;
  }
}

SyntheticWeights::Bytes SyntheticWeights::random_words() {
  Bytes block(kBlock * sizeof(std::uint32_t));
  for (std::size_t i = 0; i < block.size(); i += sizeof(std::uint64_t)) {
    const std::uint64_t word = random();
    std::memcpy(block.data() + i, &word, sizeof(word));
  }
  return block;
}

template <class T> SyntheticWeights::Bytes SyntheticWeights::random_floats(double range) {
  Bytes block(kBlock * sizeof(T));
  for (std::size_t i = 0; i < kBlock; ++i) {
    const double unit = static_cast<double>(random() >> 11) * 0x1p-53;
    const T value = from_float<T>(static_cast<float>((2 * unit - 1) * range));
    std::memcpy(block.data() + i * sizeof(T), &value, sizeof(T));
  }
  return block;
}

/// xorshift64 (Marsaglia 2003).
std::uint64_t SyntheticWeights::random() {
  state_ ^= state_ << 13;
  state_ ^= state_ >> 7;
  state_ ^= state_ << 17;
  return state_;
}

}  // namespace halyard::models

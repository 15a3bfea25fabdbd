#include "halyard/models/weights.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <type_traits>

#include <fmt/format.h>

#include "halyard/base/float16.h"
#include "halyard/io/config.h"

namespace halyard::models {
namespace {

tl::unexpected<Error> wrong(const Tensor& t, std::string message) {
  return fail(Errc::bad_file, fmt::format("{}: {}: {}", *t.file, t.name, message));
}

/// Whether a tensor has the shape expected. Matrices stacked along a first axis are one, each below the one before.
bool is_of(const Shape& s, const Shape& expected) {
  return s == expected || (s.rank() == 3 && expected.rank() == 2 && s[2] == expected[1] && s[1] != 0 &&
                           expected[0] % s[1] == 0 && s[0] == expected[0] / s[1]);
}

Result<void> check_shape(const Tensor& t, const Shape& expected) {
  if (is_of(t.shape, expected)) return {};
  return wrong(t, fmt::format("expected shape {}, got {}", to_string(expected), to_string(t.shape)));
}

Result<void> check_float(const Tensor& t) {
  if (t.dtype == DType::f32 || t.dtype == DType::f16 || t.dtype == DType::bf16) return {};
  return wrong(t, fmt::format("expected F32, F16 or BF16, got {}", t.type));
}

template <class T> void widen(std::span<const std::byte> bytes, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));  // the file need not align it
    if constexpr (std::is_same_v<T, float>) {
      out[i] = value;
    } else {
      out[i] = to_float(value);
    }
  }
}

Result<const Tensor*> require(const ModelDir& dir, const std::string& name) {
  HALYARD_TRY(dir.check_sizes());
  if (const Tensor* t = dir.find(name)) return t;
  const auto files = dir.weight_files();
  const std::string where =
      files.size() == 1 ? files[0].path() : dir.path() + ": " + fmt::format("{} weight files", files.size());
  return fail(Errc::bad_file, fmt::format("{}: there is no tensor {}", where, describe(name)));
}

/// name.weight holds packed integers: name.scales and name.biases belong to it, and their shapes agree with the config.
Result<quant::MatrixView> affine_matrix(const ModelDir& dir, const std::string& name, const QuantConfig& q,
                                        std::size_t n, std::size_t k) {
  const Tensor& w = *HALYARD_TRY(require(dir, name + ".weight"));
  const Tensor& scales = *HALYARD_TRY(require(dir, name + ".scales"));
  if (q.mode != "affine" || q.bits < 2 || q.bits > 8 || q.bits == 7) {
    return fail(Errc::unsupported,
                fmt::format("{}: {}: quantised in mode {} with {} bits; supported is affine with 2, 3, 4, 5, 6 and 8",
                            *w.file, name, q.mode, q.bits));
  }
  const Tensor& biases = *HALYARD_TRY(require(dir, name + ".biases"));
  const auto bits = static_cast<std::size_t>(q.bits), group = static_cast<std::size_t>(q.group_size);
  if (w.dtype != DType::u32) return wrong(w, fmt::format("expected packed words of U32, got {}", w.type));
  if (k % group != 0) return wrong(w, fmt::format("{} columns do not divide into groups of {}", k, group));
  if (const Shape packed{n, k * bits / 32}; !is_of(w.shape, packed)) {
    return wrong(w, fmt::format("expected shape {} ([{}, {}] with {} bits), got {}", to_string(Shape{n, k * bits / 32}),
                                n, k, bits, to_string(w.shape)));
  }
  for (const Tensor* t : {&scales, &biases}) {
    HALYARD_TRY(check_float(*t));
    HALYARD_TRY(check_shape(*t, {n, k / group}));
  }
  if (biases.dtype != scales.dtype) {
    return wrong(
        biases, fmt::format("expected {} as the scales are, got {}", to_string(scales.dtype), to_string(biases.dtype)));
  }
  return quant::MatrixView{.name = name,
                           .format = quant::Format::affine,
                           .n = n,
                           .k = k,
                           .dtype = scales.dtype,
                           .bits = q.bits,
                           .group_size = q.group_size,
                           .data = w.data,
                           .scales = scales.data,
                           .biases = biases.data,
                           .owner = w.file};
}

Result<quant::MatrixView> dense_matrix(const ModelDir& dir, const std::string& name, std::size_t n, std::size_t k) {
  const Tensor& w = *HALYARD_TRY(require(dir, name + ".weight"));
  if (w.dtype == DType::u32 && dir.find(name + ".scales")) {
    return wrong(w, "the weights are quantised, config.json has no \"quantization\" for them");
  }
  if (w.dtype == DType::u32) return wrong(w, fmt::format("packed words without a tensor {}.scales", name));
  HALYARD_TRY(check_float(w));
  HALYARD_TRY(check_shape(w, {n, k}));
  quant::MatrixView view;
  view.name = name;
  view.n = n;
  view.k = k;
  view.dtype = w.dtype;
  view.data = w.data;
  view.owner = w.file;
  return view;
}

/// What the shapes of an affine matrix [n, k] say of its bits and groups, as in mlx-lm; `said` where they say nothing possible.
QuantConfig settled_by_shapes(const ModelDir& dir, const std::string& name, QuantConfig said, std::size_t n,
                              std::size_t k) {
  const Tensor* w = dir.find(name + ".weight");
  const Tensor* scales = dir.find(name + ".scales");
  if (said.mode != "affine" || !w || !scales || w->dtype != DType::u32) return said;
  for (const int bits : {2, 3, 4, 5, 6, 8})
    for (const int group : {32, 64, 128})
      if (is_of(w->shape, {n, k * static_cast<std::size_t>(bits) / 32}) &&
          is_of(scales->shape, {n, k / static_cast<std::size_t>(group)}) && k % static_cast<std::size_t>(group) == 0)
        return {bits, group, said.mode};
  return said;
}

std::size_t bytes_of(const quant::MatrixView& v) { return v.data.size() + v.scales.size() + v.biases.size(); }

}  // namespace

Result<quant::MatrixView> DirectoryWeights::matrix(const std::string& name, std::size_t n, std::size_t k) {
  std::optional<QuantConfig> q = HALYARD_TRY(dir_.quantization_of(name));
  if (q && !dir_.has_quantization_override(name)) q = settled_by_shapes(dir_, name, *q, n, k);
  return q ? affine_matrix(dir_, name, *q, n, k) : dense_matrix(dir_, name, n, k);
}

Result<VectorData> DirectoryWeights::values(const std::string& name, std::span<const Shape> shapes) {
  const Tensor& t = *HALYARD_TRY(require(dir_, name));
  HALYARD_TRY(check_float(t));
  if (std::find(shapes.begin(), shapes.end(), t.shape) == shapes.end()) HALYARD_TRY(check_shape(t, shapes[0]));
  std::vector<float> all(t.shape.elements());
  if (t.dtype == DType::f32) widen<float>(t.data, all);
  if (t.dtype == DType::f16) widen<f16>(t.data, all);
  if (t.dtype == DType::bf16) widen<bf16>(t.data, all);
  return VectorData{std::move(all), t.data.size()};
}

Result<Linear> Weights::load(const quant::MatrixView& view) {
  Linear l;
  if (device_) l.weight = HALYARD_TRY(ops::Weight::load(*device_, view, precision_));
  totals_.matmul_parameters += view.n * view.k;
  totals_.matmul_bytes += device_ ? l.weight.bytes() : bytes_of(view);
  return l;
}

void Weights::count(std::size_t parameters, std::size_t bytes) {
  totals_.parameters += parameters;
  totals_.bytes += bytes;
  if (progress_) progress_(totals_.bytes, std::max(totals_.bytes, source_.total_bytes()));
}

Result<Linear> Weights::linear(const std::string& name, std::size_t n, std::size_t k, bool has_bias) {
  const quant::MatrixView view = HALYARD_TRY(source_.matrix(name, n, k));
  Linear l = HALYARD_TRY(load(view));
  count(n * k, bytes_of(view));
  if (has_bias) l.bias = HALYARD_TRY(vector(name + ".bias", n));
  return l;
}

Result<ops::Weight> Weights::table(const std::string& name, std::size_t n, std::size_t k) {
  const quant::MatrixView view = HALYARD_TRY(source_.matrix(name, n, k));
  count(n * k, bytes_of(view));
  return device_ ? ops::Weight::load(*device_, view, ops::Precision::exact) : ops::Weight();
}

Result<std::vector<Linear>> Weights::linears(const std::string& name, std::span<const std::size_t> ns, std::size_t k,
                                             bool has_bias) {
  const std::size_t n = std::accumulate(ns.begin(), ns.end(), std::size_t{0});
  const quant::MatrixView view = HALYARD_TRY(source_.matrix(name, n, k));
  const Buffer bias = has_bias ? HALYARD_TRY(vector(name + ".bias", n)) : Buffer();
  std::vector<Linear> parts;
  std::size_t first = 0;
  for (const std::size_t rows : ns) {
    parts.push_back(HALYARD_TRY(load(quant::rows_of(view, first, rows))));
    if (bias) parts.back().bias = HALYARD_TRY(bias.view(first * sizeof(float), DType::f32, {rows}));
    first += rows;
  }
  count(n * k, bytes_of(view));
  return parts;
}

Result<ops::Weight> Weights::experts(const std::string& prefix, const std::string& name, std::size_t experts,
                                     std::size_t active, std::size_t n, std::size_t k) {
  std::vector<quant::MatrixView> all;
  const std::string stacked = prefix + "switch_mlp." + name;
  if (source_.has(stacked + ".weight") && !source_.has(fmt::format("{}experts.0.{}.weight", prefix, name))) {
    const quant::MatrixView view = HALYARD_TRY(source_.matrix(stacked, experts * n, k));
    for (std::size_t e = 0; e < experts; ++e) all.push_back(quant::rows_of(view, e * n, n));
  } else {
    for (std::size_t e = 0; e < experts; ++e)
      all.push_back(HALYARD_TRY(source_.matrix(fmt::format("{}experts.{}.{}", prefix, e, name), n, k)));
  }
  ops::Weight w;
  if (device_) w = HALYARD_TRY(ops::Weight::load_experts(*device_, all, precision_));
  std::size_t bytes = 0;
  for (const quant::MatrixView& view : all) bytes += bytes_of(view);
  totals_.matmul_parameters += active * n * k;
  totals_.matmul_bytes += (device_ ? w.bytes() : bytes) / experts * active;
  count(experts * n * k, bytes);
  return w;
}

Result<std::vector<float>> Weights::values(const std::string& name, std::span<const Shape> shapes) {
  VectorData v = HALYARD_TRY(source_.values(name, shapes));
  count(v.values.size(), v.file_bytes);
  return std::move(v.values);
}

Result<Buffer> Weights::upload(std::span<const float> values, Shape shape) {
  if (!device_) return Buffer();
  Buffer b = HALYARD_TRY(device_->alloc(DType::f32, shape));
  HALYARD_TRY(b.write(values));
  return b;
}

Result<Buffer> Weights::vector(const std::string& name, std::size_t n, float (*change)(float)) {
  const Shape shape{n};
  std::vector<float> v = HALYARD_TRY(values(name, std::span(&shape, 1)));
  if (change) std::transform(v.begin(), v.end(), v.begin(), change);
  return upload(v, shape);
}

}  // namespace halyard::models

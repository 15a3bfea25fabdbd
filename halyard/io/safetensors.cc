#include "halyard/io/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <numeric>
#include <optional>

#include <fmt/format.h>

#include "halyard/base/file.h"
#include "halyard/base/guarded.h"
#include "halyard/base/json_members.h"
#include "halyard/base/utf8.h"
#include "halyard/io/config.h"

namespace halyard {
namespace {

constexpr std::uint64_t kMaxHeader = 100'000'000;  // bytes; the limit of the reference implementation

struct NamedType {
  std::string_view name;
  DType dtype;
};
// The first name of each DType is the one written.
constexpr NamedType kTypes[] = {
    {"F64", DType::f64},      {"F32", DType::f32},    {"F16", DType::f16},    {"BF16", DType::bf16},
    {"I64", DType::i64},      {"I32", DType::i32},    {"I16", DType::i16},    {"I8", DType::i8},
    {"U64", DType::u64},      {"U32", DType::u32},    {"U16", DType::u16},    {"U8", DType::u8},
    {"BOOL", DType::boolean}, {"F8_E4M3", DType::u8}, {"F8_E5M2", DType::u8}, {"F8_E8M0", DType::u8}};

// Types that the format has and Halyard has not: an error only where such a tensor is wanted.
constexpr std::string_view kOtherTypes[] = {"C64", "F4", "F6_E2M3", "F6_E3M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"};

std::optional<DType> dtype_named(std::string_view name) {
  for (const NamedType& t : kTypes)
    if (t.name == name) return t.dtype;
  return std::nullopt;
}

std::string_view name_of(DType dtype) {
  return std::find_if(std::begin(kTypes), std::end(kTypes), [&](const NamedType& t) { return t.dtype == dtype; })->name;
}

// Bytes of a tensor, or false where they do not fit 64 bits.
bool bytes_of(DType dtype, const Shape& shape, std::size_t& bytes) {
  return shape.elements(bytes) && !__builtin_mul_overflow(bytes, size_of(dtype), &bytes);
}

bool unsigned_in(const Json& v, std::uint64_t& out) {
  if (!v.is_integer() || v.get<double>() < 0) return false;
  out = v.get<std::uint64_t>();
  return true;
}

// The header's tensors, each with the place of its data.
struct Range {
  std::uint64_t begin = 0, end = 0;  // bytes from the start of the data
};

// Reads one entry of the header; errors are "FILE: tensor NAME: FIELD: …".
struct EntryReader {
  std::string_view file;
  const std::string name;
  const Json& entry;

  tl::unexpected<Error> refuse(std::string_view what) const {
    return fail(Errc::bad_file, fmt::format("{}: tensor {}: {}", file, in_quotes(name), what));
  }
  tl::unexpected<Error> unexpected(std::string_view field, std::string_view expected) const {
    const Json* value = entry.find(field);
    const std::string got = value ? "got " + describe(*value) : "but it is absent";
    return refuse(fmt::format("{}: expected {}, {}", field, expected, got));
  }

  Result<std::string> type() const {
    if (const Json& value = entry["dtype"]; value.is_string()) {
      auto type = value.get<std::string>();
      if (dtype_named(type) || std::find(std::begin(kOtherTypes), std::end(kOtherTypes), type) != std::end(kOtherTypes))
        return type;
    }
    return unexpected("dtype", "a type such as F32, BF16 or U32");
  }

  Result<Shape> shape() const {
    const Json& extents = entry["shape"];
    if (!extents.is_array()) return unexpected("shape", "a list of extents");
    if (extents.size() > Shape::max_rank)
      return refuse(fmt::format("shape: expected at most {} extents, got {}", Shape::max_rank, extents.size()));
    std::array<std::size_t, Shape::max_rank> dims{};
    for (std::size_t i = 0; i < extents.size(); ++i)
      if (!unsigned_in(extents[i], dims[i])) return unexpected("shape", "extents that are integers of at least 0");
    return Shape(std::span<const std::size_t>(dims.data(), extents.size()));
  }

  Result<Range> offsets(std::uint64_t data_size) const {
    const Json& offsets = entry["data_offsets"];
    Range r;
    if (offsets.size() != 2 || !unsigned_in(offsets[0], r.begin) || !unsigned_in(offsets[1], r.end))
      return unexpected("data_offsets", "two integers of at least 0");
    if (r.begin > r.end) return unexpected("data_offsets", "a begin that is not after the end");
    if (r.end > data_size)
      return unexpected("data_offsets", fmt::format("an end within the file's {} bytes of data", data_size));
    return r;
  }
};

Result<Tensor> read_tensor(const EntryReader& reader, std::span<const std::byte> data) {
  if (reader.name.find('\0') != std::string::npos) return reader.refuse("a name holds no NUL");
  if (!reader.entry.is_object()) return reader.refuse("expected an object, got " + describe(reader.entry));
  Tensor t;
  t.name = reader.name;
  t.type = HALYARD_TRY(reader.type());
  const auto known = dtype_named(t.type);
  t.dtype = known.value_or(DType::u8);
  t.shape = HALYARD_TRY(reader.shape());
  std::size_t bytes = 0;
  if (!bytes_of(t.dtype, t.shape, bytes)) return reader.unexpected("shape", "a size that fits 64 bits");
  const Range r = HALYARD_TRY(reader.offsets(data.size()));
  if (!known) bytes = r.end - r.begin;
  if (r.end - r.begin != bytes)
    return reader.refuse(fmt::format("data_offsets: {} of shape {} takes {} bytes, the offsets give {}", t.type,
                                     to_string(t.shape), bytes, r.end - r.begin));
  t.data = data.subspan(r.begin, bytes);
  return t;
}

Result<Metadata> read_metadata(std::string_view file, const Json& json) {
  if (json.is_null()) return Metadata();  // as mx.save_safetensors writes it
  if (!json.is_object())
    return fail(Errc::bad_file, fmt::format("{}: __metadata__: expected an object, got {}", file, describe(json)));
  Metadata metadata;
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string())
      return fail(Errc::bad_file, fmt::format("{}: __metadata__: {}: expected a string, got {}", file, in_quotes(key),
                                              describe(value)));
    metadata.emplace(key, value.text());
  }
  return metadata;
}

// The tensors cover the data from its first byte to its last, each byte once.
Result<void> check_cover(std::string_view file, std::span<const Tensor> tensors, std::span<const std::byte> data) {
  std::vector<const Tensor*> order;
  order.reserve(tensors.size());
  for (const Tensor& t : tensors) order.push_back(&t);
  const auto begin = [&](const Tensor* t) { return t->data.data() - data.data(); };
  const auto lies_before = [&](const Tensor* a, const Tensor* b) {
    return begin(a) != begin(b) ? begin(a) < begin(b) : a->data.size() < b->data.size();
  };
  if (!std::is_sorted(order.begin(), order.end(), lies_before)) std::sort(order.begin(), order.end(), lies_before);
  std::ptrdiff_t covered = 0;
  const Tensor* before = nullptr;
  for (const Tensor* t : order) {
    if (begin(t) < covered)
      return fail(Errc::bad_file, fmt::format("{}: tensors {} and {} lie on the same bytes", file,
                                              in_quotes(before->name), in_quotes(t->name)));
    if (begin(t) > covered)
      return fail(Errc::bad_file, fmt::format("{}: {} bytes before tensor {} belong to no tensor", file,
                                              begin(t) - covered, in_quotes(t->name)));
    covered += static_cast<std::ptrdiff_t>(t->data.size());
    before = t;
  }
  const auto rest = data.size() - static_cast<std::size_t>(covered);
  if (rest != 0)
    return fail(Errc::bad_file, fmt::format("{}: {} bytes after the last tensor belong to none", file, rest));
  return {};
}

// The length of the header, from the first bytes of a file of `size` bytes.
constexpr std::size_t kPrefix = sizeof(std::uint64_t);
Result<std::size_t> header_length(std::span<const std::byte> prefix, std::uint64_t size, std::string_view name) {
  if (prefix.size() < kPrefix)
    return fail(Errc::bad_file, fmt::format("{}: expected a safetensors file of at least 8 bytes, got {}", name, size));
  std::uint64_t length = 0;
  std::memcpy(&length, prefix.data(), kPrefix);
  const std::uint64_t follow = size - kPrefix;
  if (length > follow || length > kMaxHeader)
    return fail(Errc::bad_file, fmt::format("{}: not a safetensors file, or cut off: it claims a header of {} bytes, "
                                            "{} follow and at most {} are allowed",
                                            name, length, follow, kMaxHeader));
  return static_cast<std::size_t>(length);
}

// Sorts by name; a name that stands twice is an error.
Result<void> sort_tensors(std::string_view file, std::vector<Tensor>& tensors) {
  sort_by_name(tensors);
  const auto twice = std::adjacent_find(tensors.begin(), tensors.end(),
                                        [](const Tensor& a, const Tensor& b) { return a.name == b.name; });
  if (twice == tensors.end()) return {};
  return fail(Errc::bad_file, fmt::format("{}: header: the key {} stands twice", file, in_quotes(twice->name)));
}

Result<SafeTensorsContents> parse(std::string_view header, std::span<const std::byte> data, std::string_view name) {
  SafeTensorsContents contents;
  contents.tensors.reserve(header.size() / 128);  // about as many as most headers list
  bool has_metadata = false;
  std::optional<Error> bad_entry;  // it names the file already
  const auto read = [&](std::string_view key, const Json& value) -> Result<void> {
    if (key != "__metadata__") {
      contents.tensors.push_back(HALYARD_TRY(read_tensor({name, std::string(key), value}, data)));
      return {};
    }
    if (std::exchange(has_metadata, true))
      return fail(Errc::bad_file, fmt::format("{}: header: the key \"__metadata__\" stands twice", name));
    contents.metadata = HALYARD_TRY(read_metadata(name, value));
    return {};
  };
  const auto done = read_json_members(header, [&](std::string_view key, const Json& value) -> Result<void> {
    auto entry = read(key, value);
    if (!entry) bad_entry = entry.error();
    return entry;
  });
  if (bad_entry) return fail(*std::move(bad_entry));
  if (!done) return fail(done.error(), fmt::format("{}: header", name));
  HALYARD_TRY(check_cover(name, contents.tensors, data));  // most files list them as they lie
  HALYARD_TRY(sort_tensors(name, contents.tensors));
  return contents;
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

Result<SafeTensorsContents> parse_safetensors(std::span<const std::byte> file, std::string_view name) {
  return guarded([&]() -> Result<SafeTensorsContents> {
    const std::size_t length =
        HALYARD_TRY(header_length(file.first(std::min(file.size(), kPrefix)), file.size(), name));
    return parse(text_of(file.subspan(kPrefix, length)), file.subspan(kPrefix + length), name);
  });
}

// The header is read, not mapped: it may shrink meanwhile. The data are not touched.
Result<SafeTensors> SafeTensors::open(const std::string& path) {
  return guarded([&]() -> Result<SafeTensors> {
    MappedFile file = HALYARD_TRY(MappedFile::open(path));
    const std::span<const std::byte> bytes = file.bytes();
    const std::string start = HALYARD_TRY(file.file().read(0, std::min<std::size_t>(bytes.size(), 64)));
    HALYARD_TRY(refuse_lfs_pointer(start, path));
    const std::size_t length = HALYARD_TRY(header_length(std::as_bytes(std::span(start)), bytes.size(), path));
    const std::string header = HALYARD_TRY(file.file().read(kPrefix, length));
    SafeTensorsContents contents = HALYARD_TRY(parse(header, bytes.subspan(kPrefix + length), path));
    for (Tensor& t : contents.tensors) t.file = file.owner();
    return SafeTensors(std::move(file), std::move(contents));
  });
}

const Tensor* SafeTensors::find(std::string_view name) const { return find_tensor(tensors(), name); }

// Keys are sorted, of 24 bytes each; a tensor, of some two hundred, moves once. Names of one model begin alike: the first
// bytes in which any two differ are a number by which most comparisons are settled.
void sort_by_name(std::vector<Tensor>& tensors) {
  const auto before = [](const Tensor& a, const Tensor& b) { return a.name < b.name; };
  if (std::is_sorted(tensors.begin(), tensors.end(), before)) return;
  std::string_view alike = tensors[0].name;
  for (const Tensor& t : tensors)
    alike = alike.substr(
        0, static_cast<std::size_t>(std::mismatch(alike.begin(), alike.end(), t.name.begin(), t.name.end()).first -
                                    alike.begin()));
  struct Key {
    std::uint64_t bytes;  // eight of the name behind what is alike, the first the most significant
    const std::string* name;
    std::size_t index;
  };
  std::vector<Key> keys;
  keys.reserve(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    std::uint64_t bytes = 0;
    const std::string_view rest = std::string_view(tensors[i].name).substr(alike.size());
    for (std::size_t k = 0; k < 8; ++k)
      bytes = bytes << 8 | (k < rest.size() ? static_cast<unsigned char>(rest[k]) : 0U);
    keys.push_back({bytes, &tensors[i].name, i});
  }
  std::sort(keys.begin(), keys.end(), [](const Key& a, const Key& b) {
    if (a.bytes != b.bytes) return a.bytes < b.bytes;
    const int names = a.name->compare(*b.name);
    return names != 0 ? names < 0 : a.index < b.index;
  });
  std::vector<Tensor> sorted;
  sorted.reserve(tensors.size());
  for (const Key& key : keys) sorted.push_back(std::move(tensors[key.index]));
  tensors = std::move(sorted);
}

const Tensor* find_tensor(std::span<const Tensor> sorted, std::string_view name) {
  const auto it = std::lower_bound(sorted.begin(), sorted.end(), name,
                                   [](const Tensor& t, std::string_view n) { return t.name < n; });
  return it != sorted.end() && it->name == name ? &*it : nullptr;
}

// ------------------------------------------------------------------------------------------------------------ writing

namespace {

Result<void> check_writable(const TensorToWrite& t) {
  std::size_t bytes = 0;
  if (t.name == "__metadata__") return fail(Errc::invalid_argument, "a tensor may not be called __metadata__");
  if (!bytes_of(t.dtype, t.shape, bytes) || bytes != t.data.size())
    return fail(Errc::invalid_argument,
                fmt::format("tensor {}: {} of shape {} does not take the {} bytes given", in_quotes(t.name),
                            to_string(t.dtype), to_string(t.shape), t.data.size()));
  return {};
}

// The length and the JSON of the header, padded with spaces so that the data start at a multiple of 8.
Result<std::string> header_of(std::span<const TensorToWrite* const> order, const Metadata& metadata) {
  std::map<std::string_view, Json> entries;  // written in the order of their names
  bool all_text = true;
  if (!metadata.empty()) entries["__metadata__"] = Json::object_of(metadata);
  for (const auto& [key, value] : metadata) all_text = all_text && is_utf8(key) && is_utf8(value);
  std::uint64_t at = 0;
  for (const TensorToWrite* t : order) {
    HALYARD_TRY(check_writable(*t));
    const auto [entry, fresh] = entries.try_emplace(t->name);
    if (!fresh) return fail(Errc::invalid_argument, fmt::format("tensor {} is given twice", in_quotes(t->name)));
    const auto dims = t->shape.dims();
    entry->second = Json::object({{"data_offsets", Json::array({at, at + t->data.size()})},
                                  {"dtype", name_of(t->dtype)},
                                  {"shape", std::vector<std::size_t>(dims.begin(), dims.end())}});
    all_text = all_text && is_utf8(t->name);
    at += t->data.size();
  }
  if (!all_text) return fail(Errc::invalid_argument, "a tensor's name or a metadata string is not UTF-8");
  Json json = Json::object();
  for (auto& [name, entry] : entries) json[name] = std::move(entry);
  std::string text = json.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > kMaxHeader)
    return fail(Errc::limit_exceeded,
                fmt::format("a header of {} bytes, at most {} are allowed", text.size(), kMaxHeader));
  const std::uint64_t length = text.size();
  std::string header(sizeof length, '\0');
  std::memcpy(header.data(), &length, sizeof length);
  return header + text;
}

}  // namespace

Result<void> write_safetensors(FileWriter& file, std::span<const TensorToWrite> tensors, const Metadata& metadata) {
  return guarded([&]() -> Result<void> {
    std::vector<const TensorToWrite*> order;
    order.reserve(tensors.size());
    for (const TensorToWrite& t : tensors) order.push_back(&t);
    std::stable_sort(order.begin(), order.end(), [](const TensorToWrite* a, const TensorToWrite* b) {
      return size_of(a->dtype) > size_of(b->dtype);
    });
    const std::string header = HALYARD_TRY(header_of(order, metadata));
    HALYARD_TRY(file.write(header));
    for (const TensorToWrite* t : order) HALYARD_TRY(file.write(t->data));
    return file.commit();
  });
}

Result<void> write_safetensors(const std::string& path, std::span<const TensorToWrite> tensors,
                               const Metadata& metadata) {
  return guarded([&]() -> Result<void> {
    FileWriter file = HALYARD_TRY(FileWriter::create(path));
    auto written = write_safetensors(file, tensors, metadata);
    if (!written && written.error().code != Errc::io)
      return fail(std::move(written).error(), path);  // an io error names it
    return written;
  });
}

}  // namespace halyard

#include "halyard/io/model_dir.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <set>

#include <fmt/format.h>

#include "halyard/base/file.h"
#include "halyard/base/guarded.h"
#include "halyard/base/json_reader.h"
#include "halyard/base/quote.h"
#include "halyard/io/config.h"

namespace halyard {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxConfig = std::uint64_t{16} << 20;
constexpr std::uint64_t kMaxIndex = std::uint64_t{64} << 20;
constexpr std::string_view kIndex = "model.safetensors.index.json";

// True for anything at `path`, a dangling link included: that one is an error to report, not an absent file.
bool exists(const std::string& path) {
  std::error_code ignored;
  return fs::symlink_status(path, ignored).type() != fs::file_type::not_found;
}

// "mlx-community/Qwen3-0.6B-4bit": an owner and a name, nothing that only a path has.
bool looks_like_hub_name(std::string_view path) {
  constexpr std::string_view allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./";
  const std::size_t slash = path.find('/');
  return slash != 0 && slash != path.npos && slash + 1 < path.size() && path.find('/', slash + 1) == path.npos &&
         path[0] != '.' && path.find_first_not_of(allowed) == path.npos && !path.ends_with(".gguf");
}

// Why `path`, which is not a folder, is no model.
tl::unexpected<Error> not_a_folder(const std::string& path) {
  if (!exists(path) && looks_like_hub_name(path))
    return fail(
        Errc::not_found,
        fmt::format("{}: no such folder; for the model of this name on the Hub, download it first and give its folder",
                    path));
  const auto file = MappedFile::open(path);
  if (!file) return fail(file.error());
  const auto bytes = file->bytes();
  if (path.ends_with(".gguf") || (bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0))
    return fail(Errc::unsupported, fmt::format("{}: GGUF files are not supported yet", path));
  return fail(Errc::bad_file, fmt::format("{}: a model is a folder or a .gguf file, this is neither", path));
}

// A file of the model that may be absent but not something else, such as a folder or a link to nothing.
Result<ModelFile> optional_file(const std::string& folder, std::string_view name) {
  ModelFile file{fmt::format("{}/{}", folder, name), false};
  file.present = exists(file.path);
  if (file.present) HALYARD_TRY(File::open(file.path));
  return file;
}

// ------------------------------------------------------------------------------------------------------------ weights

bool is_plain_file_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
}

// Where the folder lies that is meant: of a model in the Hub's cache its snapshot, named by refs/main or the only one.
Result<std::string> resolve_snapshot(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  std::error_code ignored;
  if (exists(path + "/config.json") || !fs::is_directory(path + "/snapshots", ignored) ||
      !fs::is_directory(path + "/refs", ignored))
    return path;
  std::vector<std::string> found;
  if (auto names = names_in(path + "/snapshots")) found = *std::move(names);
  if (const auto ref = read_file(path + "/refs/main", 4096)) {
    const std::string name = ref->substr(0, ref->find_first_of("\r\n "));
    if (std::find(found.begin(), found.end(), name) != found.end()) return fmt::format("{}/snapshots/{}", path, name);
  }
  if (found.size() == 1) return fmt::format("{}/snapshots/{}", path, found[0]);
  return fail(
      Errc::not_found,
      fmt::format("{}: a model of the Hub's cache with {} snapshots, of which refs/main names none: give one of them",
                  path, found.size()));
}

// model.safetensors.index.json without a tree of it: its one long object, name by name.
struct Index : JsonEvents {
  struct Entry {
    std::string tensor;
    const std::string* shard;  // one of `shards`
  };
  std::vector<Entry> entries;  // as written until `sort` is called
  std::set<std::string, std::less<>> shards;
  std::string path;
  bool has_map = false;

  /// By tensor; of a name that stands twice the last one stays. Seldom needed, and not cheap.
  void sort() {
    const auto before = [](const Entry& a, const Entry& b) { return a.tensor < b.tensor; };
    const auto same = [](const Entry& a, const Entry& b) { return a.tensor == b.tensor; };
    if (!std::is_sorted(entries.begin(), entries.end(), before))
      std::stable_sort(entries.begin(), entries.end(), before);
    const auto first = std::unique(entries.rbegin(), entries.rend(), same);  // from the end: the last one counts
    entries.erase(entries.begin(), first.base());
  }

  bool null() override { return other("null"); }
  bool boolean(bool value) override { return other(value ? "true" : "false"); }
  bool negative(std::int64_t value) override { return other(fmt::to_string(value)); }
  bool whole(std::uint64_t value) override { return other(fmt::to_string(value)); }
  bool real(double value) override { return other(fmt::to_string(value)); }
  bool string(std::string_view value) override {
    while (in_map_ && value.starts_with("./")) value.remove_prefix(2);
    if (!in_map_ || depth_ != 2 || !is_plain_file_name(value)) return other(in_quotes(value, 80));
    if (entries.empty() || *entries.back().shard != value) last_ = &*shards.emplace(value).first;
    entries.push_back({std::move(name_), last_});
    return true;
  }
  bool start_object() override {
    if (depth_ == 1 && map_is_next_) in_map_ = has_map = true, entries.clear(), shards.clear();
    else if (!other("an object")) return false;
    ++depth_;
    return true;
  }
  bool end_object() override {
    if (--depth_ == 1) in_map_ = false;
    return true;
  }
  bool start_array() override {
    if (!other("a list")) return false;
    ++depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool key(std::string_view name) override {
    name_ = name;
    if (depth_ == 1) map_is_next_ = name == "weight_map";
    return true;
  }

 private:
  // Any value but those of the map: an error within it and in its place.
  bool other(std::string_view got) {
    if (in_map_)
      return refuse(fmt::format("{}: weight_map: {}: expected the name of a file in the same folder, got {}", path,
                                in_quotes(name_), got));
    if (depth_ == 1 && map_is_next_)
      return refuse(fmt::format("{}: weight_map: expected an object, got {}", path, got));
    if (depth_ == 0 && got != "an object") return refuse(fmt::format("{}: expected a JSON object, got {}", path, got));
    return true;
  }
  std::string name_;
  const std::string* last_ = nullptr;
  int depth_ = 0;  // containers open
  bool in_map_ = false, map_is_next_ = false;
};

Result<Index> read_index(const std::string& path) {
  const std::string text = HALYARD_TRY(read_file(path, kMaxIndex));
  Index index;
  index.path = path;
  if (auto read = read_json(text, index); !read)
    return read.error().message.starts_with(path) ? fail(std::move(read).error()) : fail(std::move(read).error(), path);
  if (!index.has_map)
    return fail(Errc::bad_file, fmt::format("{}: weight_map: expected an object, but the field is absent", path));
  if (index.entries.empty()) return fail(Errc::bad_file, fmt::format("{}: weight_map names no tensor", path));
  return index;
}

// model*.safetensors, sorted.
Result<std::set<std::string>> find_weights(const std::string& folder) {
  std::set<std::string> names;
  for (const std::string& name : HALYARD_TRY(names_in(folder)))
    if (name.starts_with("model") && name.ends_with(".safetensors")) names.insert(name);
  if (names.empty())
    return fail(Errc::not_found, fmt::format("{}: no weights: expected model.safetensors or shards of it", folder));
  return names;
}

// A shard that is not there is an error where a tensor of it is in no other. What else the index says wrongly does no harm:
// the tensors that are there decide. Both are sorted by name.
Result<void> check_index(Index& index, const std::string& folder, std::span<const Tensor> tensors) {
  std::set<const std::string*> absent;
  for (const std::string& shard : index.shards)
    if (!exists(folder + "/" + shard)) absent.insert(&shard);
  if (absent.empty()) return {};
  index.sort();
  auto t = tensors.begin();
  for (const auto& [name, shard] : index.entries) {
    if (!absent.contains(shard)) continue;
    while (t != tensors.end() && t->name < name) ++t;
    if (t == tensors.end() || t->name != name)
      return fail(Errc::not_found, fmt::format("{}/{}: there is no such file; {} expects tensor {} in it", folder,
                                               *shard, index.path, in_quotes(name)));
  }
  return {};
}

bool same_name(const Tensor& a, const Tensor& b) { return a.name == b.name; }

// Of a tensor that stands in several files the one that the index means stays, if it is there. Both are sorted by name.
void keep_what_is_meant(Index& index, const std::string& folder, std::vector<Tensor>& tensors) {
  auto out = std::adjacent_find(tensors.begin(), tensors.end(), same_name);
  if (out == tensors.end()) return;
  index.sort();
  const auto is_meant = [&](const Tensor& t) {
    const auto it = std::lower_bound(index.entries.begin(), index.entries.end(), t.name,
                                     [](const Index::Entry& e, const std::string& name) { return e.tensor < name; });
    return it != index.entries.end() && it->tensor == t.name && *t.file == fmt::format("{}/{}", folder, *it->shard);
  };
  for (auto t = out; t != tensors.end();) {
    const auto end = std::find_if(t, tensors.end(), [&](const Tensor& other) { return !same_name(*t, other); });
    const auto meant = end - t > 1 ? std::find_if(t, end, is_meant) : end;
    const auto first = meant == end ? t : meant, last = meant == end ? end : std::next(meant);
    out = out == first ? last : std::move(first, last, out);
    t = end;
  }
  tensors.erase(out, tensors.end());
}

// ------------------------------------------------------------------------------------------------------- quantisation

struct QuantMode {
  std::string_view name;
  int bits, group_size;  // where the config does not say; the fp modes allow no others
};
constexpr QuantMode kModes[] = {{"affine", 4, 64}, {"mxfp4", 4, 32}, {"mxfp8", 8, 32}, {"nvfp4", 4, 16}};

bool bits_allowed(const QuantMode& mode, int bits) {
  return mode.name == "affine" ? (bits >= 2 && bits <= 6) || bits == 8 : bits == mode.bits;
}
bool group_allowed(const QuantMode& mode, int group) {
  return mode.name == "affine" ? group == 32 || group == 64 || group == 128 : group == mode.group_size;
}

// {"bits", "group_size", "mode"}; as in MLX, an absent mode is affine and the rest follow the mode, never the other layers.
Result<QuantConfig> read_quant(const ConfigView& view) {
  const std::string name = HALYARD_TRY(view.string_or("mode", "affine"));
  const auto* mode =
      std::find_if(std::begin(kModes), std::end(kModes), [&](const QuantMode& m) { return m.name == name; });
  if (mode == std::end(kModes))
    return view.error("mode", fmt::format("expected affine, mxfp4, mxfp8 or nvfp4, got {}", in_quotes(name)),
                      Errc::unsupported);
  const auto bits = static_cast<int>(HALYARD_TRY(view.integer_or("bits", mode->bits, 2, 8)));
  const auto group = static_cast<int>(HALYARD_TRY(view.integer_or("group_size", mode->group_size, 16, 128)));
  if (!bits_allowed(*mode, bits))
    return view.error("bits",
                      fmt::format("expected {} for mode {}, got {}",
                                  name == "affine" ? "2, 3, 4, 5, 6 or 8" : std::to_string(mode->bits), name, bits));
  if (!group_allowed(*mode, group))
    return view.error("group_size",
                      fmt::format("expected {} for mode {}, got {}",
                                  name == "affine" ? "32, 64 or 128" : std::to_string(mode->group_size), name, group));
  return QuantConfig{bits, group, name};
}

// The object that describes MLX's quantisation, or null: "quantization", or "quantization_config" unless another method's.
Result<std::optional<ConfigView>> find_quant(const ConfigView& config) {
  if (config.has("quantization")) return HALYARD_TRY(config.object("quantization"));
  if (!config.has("quantization_config")) return std::nullopt;
  ConfigView view = HALYARD_TRY(config.object("quantization_config"));
  if (view.has("quant_method") || !view.has("bits")) return std::nullopt;
  return view;
}

}  // namespace

struct ModelDir::Contents {
  std::string path;
  Json config;
  std::optional<Json> generation_config;
  ModelFile tokenizer, tokenizer_config, chat_template;
  std::vector<MappedFile> files;
  std::vector<Tensor> tensors;  // sorted by name
  std::uint64_t weight_bytes = 0;
  std::optional<QuantConfig> quantization;
  std::map<std::string, std::optional<QuantConfig>, std::less<>> overrides;  // by weight name; empty: not quantised
};

const std::string& ModelDir::path() const { return contents_->path; }
ConfigView ModelDir::config() const { return {contents_->config, path() + "/config.json"}; }
std::optional<ConfigView> ModelDir::generation_config() const {
  if (!contents_->generation_config) return std::nullopt;
  return ConfigView(*contents_->generation_config, path() + "/generation_config.json");
}
const ModelFile& ModelDir::tokenizer() const { return contents_->tokenizer; }
const ModelFile& ModelDir::tokenizer_config() const { return contents_->tokenizer_config; }
const ModelFile& ModelDir::chat_template() const { return contents_->chat_template; }
std::span<const Tensor> ModelDir::tensors() const { return contents_->tensors; }
std::span<const MappedFile> ModelDir::weight_files() const { return contents_->files; }
std::uint64_t ModelDir::weight_bytes() const { return contents_->weight_bytes; }
const std::optional<QuantConfig>& ModelDir::quantization() const { return contents_->quantization; }
bool ModelDir::has_quantization_override(std::string_view weight_base_name) const {
  return contents_->overrides.contains(weight_base_name);
}

Result<void> ModelDir::load_quantization(Contents& c) {
  const ConfigView config(c.config, c.path + "/config.json");
  const auto view = HALYARD_TRY(find_quant(config));
  if (!view) return {};
  c.quantization = HALYARD_TRY(read_quant(*view));
  for (const auto& [name, value] : view->json().items()) {
    if (value.is_object()) {
      const ConfigView layer = HALYARD_TRY(view->object(name));
      c.overrides[std::string(name)] = HALYARD_TRY(read_quant(layer));
    } else if (value.is_boolean()) {
      c.overrides[std::string(name)] = value.get<bool>() ? c.quantization : std::nullopt;
    }
  }
  return {};
}

Result<void> ModelDir::load_weights(Contents& c) {
  std::optional<Index> index;
  std::set<std::string> names;
  const std::string path = fmt::format("{}/{}", c.path, kIndex);
  const bool indexed = exists(path);
  // As in transformers, model.safetensors is the whole model whatever an index beside it says.
  if (indexed && exists(c.path + "/model.safetensors")) {
    names.insert("model.safetensors");
  } else if (indexed) {
    index = HALYARD_TRY(read_index(path));
    for (const std::string& shard : index->shards)
      if (exists(c.path + "/" + shard)) names.insert(shard);
    if (names.empty()) names = find_weights(c.path).value_or(std::set<std::string>());
  } else {
    names = HALYARD_TRY(find_weights(c.path));
  }
  std::vector<std::vector<Tensor>> shards;
  const auto add = [&](SafeTensors shard) {
    c.files.push_back(shard.file());
    shards.push_back(std::move(shard).take_tensors());
  };
  for (const std::string& name : names) add(HALYARD_TRY(SafeTensors::open(fmt::format("{}/{}", c.path, name))));
  if (index) {
    // A shard that the index forgot counts too; one that is no weight file is of no use, and does no harm.
    for (const std::string& name : find_weights(c.path).value_or(std::set<std::string>()))
      if (!names.contains(name))
        if (auto shard = SafeTensors::open(fmt::format("{}/{}", c.path, name))) add(std::move(*shard));
  }
  std::size_t count = 0;
  for (const auto& tensors : shards) count += tensors.size();
  c.tensors.reserve(count);
  for (auto& tensors : shards) std::move(tensors.begin(), tensors.end(), std::back_inserter(c.tensors));
  sort_by_name(c.tensors);
  if (index) keep_what_is_meant(*index, c.path, c.tensors);
  const auto twice = std::adjacent_find(c.tensors.begin(), c.tensors.end(), same_name);
  if (twice != c.tensors.end())
    return fail(Errc::bad_file, fmt::format("{}: tensor {} is also in {}", *twice->file, in_quotes(twice->name),
                                            *std::next(twice)->file));
  for (const Tensor& t : c.tensors) c.weight_bytes += t.data.size();
  return index ? check_index(*index, c.path, c.tensors) : Result<void>{};
}

Result<std::string> model_folder(const std::string& path) {
  return guarded([&]() -> Result<std::string> {
    if (path.find('\0') != path.npos) return fail(Errc::invalid_argument, fmt::format("{}: a path holds no NUL", path));
    return resolve_snapshot(path);
  });
}

Result<ModelDir> ModelDir::open(const std::string& given) {
  return guarded([&]() -> Result<ModelDir> {
    const std::string path = HALYARD_TRY(model_folder(given));
    std::error_code ignored;
    if (!fs::is_directory(path, ignored)) return not_a_folder(path);
    auto c = std::make_shared<Contents>();
    c->path = path;
    c->config = HALYARD_TRY(read_json_object(c->path + "/config.json", kMaxConfig));
    HALYARD_TRY(load_quantization(*c));
    const ModelFile generation = HALYARD_TRY(optional_file(c->path, "generation_config.json"));
    if (generation.present) c->generation_config = HALYARD_TRY(read_json_object(generation.path, kMaxConfig));
    c->tokenizer = HALYARD_TRY(optional_file(c->path, "tokenizer.json"));
    c->tokenizer_config = HALYARD_TRY(optional_file(c->path, "tokenizer_config.json"));
    c->chat_template = HALYARD_TRY(optional_file(c->path, "chat_template.jinja"));
    HALYARD_TRY(load_weights(*c));
    return ModelDir(std::move(c));
  });
}

Result<void> ModelDir::check_sizes() const {
  for (const MappedFile& file : weight_files()) HALYARD_TRY(file.check_size());
  return {};
}

void ModelDir::prefetch() const {
  for (const MappedFile& file : weight_files()) file.prefetch();
}

Result<std::optional<QuantConfig>> ModelDir::quantization_of(std::string_view weight_base_name) const {
  return guarded([&]() -> Result<std::optional<QuantConfig>> {
    if (const auto it = contents_->overrides.find(weight_base_name); it != contents_->overrides.end())
      return it->second;
    if (!contents_->quantization || !find(fmt::format("{}.scales", weight_base_name))) return std::nullopt;
    return contents_->quantization;
  });
}

}  // namespace halyard

// halyard inspect: what a model is, without running it.
#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "halyard/cli/commands.h"
#include "halyard/cli/load.h"
#include "halyard/io/config.h"
#include "halyard/models/registry.h"

namespace halyard::cli {
namespace {

struct InspectFlags {
  ModelOptions model;
  JsonFlag json;
  bool exact = false;
  std::int64_t ctx = 0;
};

/// The tensors of one role and format, in all layers: every "self_attn.q_proj" of 4 bits.
struct Group {
  std::string format;
  std::size_t matrices = 0, parameters = 0, bytes = 0;
};

struct Description {
  models::ModelInfo info;
  models::WeightTotals totals;
  std::map<std::pair<std::string, std::string>, Group> groups;  // by role and format
  std::size_t context = 0, cache_bytes = 0;                     // positions, and what their keys and values take
};

/// "model.layers.17.mlp.down_proj" -> "layers.*.mlp.down_proj"
std::string role_of(std::string_view base) {
  std::string role;
  while (!base.empty()) {
    const std::size_t dot = std::min(base.find('.'), base.size());
    const std::string_view part = base.substr(0, dot);
    const bool number = !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
    if (!(role.empty() && part == "model")) role += fmt::format("{}{}", role.empty() ? "" : ".", number ? "*" : part);
    base.remove_prefix(std::min(dot + 1, base.size()));
  }
  return role;
}

/// The name of the matrix or vector that a tensor belongs to, and whether the tensor holds its elements.
std::pair<std::string_view, bool> owner_of(std::string_view name) {
  for (const std::string_view suffix : {".weight", ".scales", ".biases"}) {
    if (name.ends_with(suffix)) return {name.substr(0, name.size() - suffix.size()), suffix == ".weight"};
  }
  return {name, true};
}

Result<void> add_tensor(Description& d, const ModelDir& dir, const Tensor& t) {
  const auto [base, holds] = owner_of(t.name);
  const std::optional<QuantConfig> q = HALYARD_TRY(dir.quantization_of(base));
  const Tensor* elements = holds ? &t : dir.find(fmt::format("{}.weight", base));
  const std::string format = q ? fmt::format("{} {}-bit, groups of {}", q->mode, q->bits, q->group_size)
                               : std::string(to_string(elements ? elements->dtype : t.dtype));
  Group& g = d.groups[{role_of(base), format}];
  g.format = format;
  g.bytes += t.data.size();
  if (!holds) return {};
  g.matrices += 1;
  g.parameters += q ? t.data.size() * 8 / static_cast<std::size_t>(q->bits) : t.shape.elements();
  return {};
}

Result<Description> describe_model(const ModelDir& dir, const InspectFlags& f) {
  const std::unique_ptr<models::Recipe> recipe = HALYARD_TRY(models::make_recipe(dir.config()));
  models::DirectoryWeights source(dir);
  models::Weights weights(source, /*device=*/std::nullopt, ops::Precision::fast);
  HALYARD_TRY(recipe->load(weights));

  Description d;
  d.info = recipe->info();
  d.totals = weights.totals();
  for (const Tensor& t : dir.tensors()) HALYARD_TRY(add_tensor(d, dir, t));
  d.context = f.ctx ? static_cast<std::size_t>(f.ctx) : d.info.max_positions;
  for (const models::LayerSpec& l : d.info.layers) {
    d.cache_bytes += d.context * 2 * l.kv_heads * l.head_dim * (f.exact ? sizeof(float) : sizeof(f16));
  }
  return d;
}

Json to_json(const ModelDir& dir, const Description& d) {
  Json groups = Json::array();
  for (const auto& [key, g] : d.groups) {
    groups.push_back(Json::object({{"name", key.first},
                                   {"format", g.format},
                                   {"tensors", g.matrices},
                                   {"parameters", g.parameters},
                                   {"bytes", g.bytes}}));
  }
  return Json::object({{"path", dir.path()},
                       {"model_type", d.info.model_type},
                       {"layers", d.info.layers.size()},
                       {"hidden_size", d.info.hidden_size},
                       {"kv_heads", d.info.layers.front().kv_heads},
                       {"head_dim", d.info.layers.front().head_dim},
                       {"vocab_size", d.info.vocab_size},
                       {"max_context", d.info.max_positions},
                       {"parameters", d.totals.parameters},
                       {"weight_bytes", d.totals.bytes},
                       {"groups", groups},
                       {"memory", Json::object({{"context", d.context},
                                                {"weights", d.totals.bytes},
                                                {"kv_cache", d.cache_bytes},
                                                {"total", d.totals.bytes + d.cache_bytes}})}});
}

std::string to_text(const ModelDir& dir, const Description& d) {
  const double bits = 8 * static_cast<double>(d.totals.bytes) / static_cast<double>(d.totals.parameters);
  std::string out = fmt::format(
      "{}\n  architecture  {}: {} layers, hidden size {}, {} KV heads of {}, vocabulary {}\n"
      "  context       {} tokens\n  parameters    {:.2f} M in {}, {:.2f} bits each\n\n",
      dir.path(), d.info.model_type, d.info.layers.size(), d.info.hidden_size, d.info.layers.front().kv_heads,
      d.info.layers.front().head_dim, d.info.vocab_size, d.info.max_positions,
      static_cast<double>(d.totals.parameters) / 1e6, human_bytes(d.totals.bytes), bits);
  std::size_t name = 0, format = 0;
  for (const auto& [key, g] : d.groups) {
    name = std::max(name, key.first.size());
    format = std::max(format, g.format.size());
  }
  for (const auto& [key, g] : d.groups) {
    out += fmt::format("  {:{}}  {:{}}  {:4} × {:>12} parameters, {:>10}\n", key.first, name, g.format, format,
                       g.matrices, g.parameters / std::max<std::size_t>(g.matrices, 1), human_bytes(g.bytes));
  }
  return out + fmt::format("\n  memory at {} tokens: {} of weights + {} of keys and values = {}\n", d.context,
                           human_bytes(d.totals.bytes), human_bytes(d.cache_bytes),
                           human_bytes(d.totals.bytes + d.cache_bytes));
}

Result<void> run_inspect(const InspectFlags& f, Context& context) {
  const std::string path = HALYARD_TRY(f.model.path());
  const ModelDir dir = HALYARD_TRY(ModelDir::open(path));
  const Description d = HALYARD_TRY(describe_model(dir, f));
  if (!f.json.json) return context.out.write(to_text(dir, d));
  return context.out.write(to_json(dir, d).dump(2) + "\n");
}

}  // namespace

void add_inspect(CLI::App& root, Context& context) {
  const auto flags = std::make_shared<InspectFlags>();
  CLI::App& command = add_command(root, "inspect", "Describe a model: architecture, weights, memory",
                                  "  halyard inspect Qwen3-0.6B-4bit --ctx 4096\n");
  command.add_option("model,--model", flags->model.model, "Model folder (MLX or Hugging Face layout) or .gguf file")
      ->check(given())
      ->type_name("M")
      ->group("Model");
  command.add_option("-c,--ctx", flags->ctx, "Tokens to count memory for; 0: the model's whole context")
      ->check(whole_in(0, 1 << 30))
      ->type_name("N")
      ->group("Output");
  command.add_flag("--exact", flags->exact, "Count memory for --exact")->group("Output");
  flags->json.add(command);
  on_run(command, context, [flags, &context] { return run_inspect(*flags, context); });
}

}  // namespace halyard::cli

#include "halyard/cli/options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "halyard/base/json.h"
#include "halyard/cli/app.h"
#include "halyard/hal/device.h"
#include "halyard/io/model_dir.h"

namespace halyard::cli {
namespace {

/// The number that is all of `text`, or false.
template <class T> bool parse_number(const std::string& text, T& value) {
  if constexpr (std::is_integral_v<T>) {  // the parser behind this one would take "010" as octal
    const std::size_t digits = text.starts_with('+') || text.starts_with('-') ? 1 : 0;
    if (text.size() > digits + 1 && text[digits] == '0') return false;
  }
  const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(begin, end, value);
  return error == std::errc{} && stop == end;
}

template <class T> CLI::Validator number_in(T low, T high, const char* kind) {
  const auto check = [=](std::string& text) -> std::string {
    T value{};
    if (parse_number(text, value) && value >= low && value <= high) return {};
    const bool bounded = std::is_integral_v<T> || high < std::numeric_limits<T>::max();
    const bool signless = low > std::numeric_limits<T>::lowest();
    const std::string range = bounded    ? fmt::format(" from {} to {}", low, high)
                              : signless ? fmt::format(" >= {}", low)
                                         : "";
    return fmt::format("expected {}{}, got '{}'", kind, range, text);
  };
  return CLI::Validator(check, "");
}

/// {"token": bias, …}
std::map<std::int32_t, float> parse_logit_bias(const std::string& text) {
  const auto wrong = [](const std::string& why) { return CLI::ValidationError("--logit-bias", why); };
  const Result<Json> json = parse_json(text);
  if (!json) throw wrong(json.error().str());
  if (!json->is_object()) throw wrong("expected a JSON object of token: bias");
  std::map<std::int32_t, float> bias;
  for (const auto& [token, value] : json->items()) {
    std::int32_t id = 0;
    if (!parse_number(std::string(token), id) || id < 0) throw wrong(fmt::format("'{}' is no token id", token));
    if (!value.is_number() || !(std::abs(value.get<double>()) <= 1e30))
      throw wrong(fmt::format("the bias of token {} is no number in range", token));
    bias[id] = value.get<float>();
  }
  return bias;
}

}  // namespace

CLI::Validator real_in(double low, double high) { return number_in<double>(low, high, "a number"); }
CLI::Validator whole_in(std::int64_t low, std::int64_t high) {
  return number_in<std::int64_t>(low, high, "a whole number");
}

CLI::Validator given() {
  return CLI::Validator(
      [](std::string& text) { return std::string(text.empty() ? "expected a value, got an empty text" : ""); }, "");
}

CLI::Option* add_whole_list(CLI::App& command, const std::string& names, std::vector<std::int64_t>& values,
                            std::int64_t high, const std::string& what) {
  // Taken apart here: the parser drops empty elements.
  const auto read = [&values, high, name = names.substr(names.find("--"))](const CLI::results_t& given) {
    values.clear();
    for (const std::string& list : given)
      for (std::size_t begin = 0; begin <= list.size();) {
        const std::size_t end = std::min(list.find(',', begin), list.size());
        std::string element = list.substr(begin, end - begin);
        if (const std::string wrong = whole_in(0, high)(element); !wrong.empty())
          throw CLI::ValidationError(name, wrong);
        std::int64_t value = 0;
        parse_number(element, value);
        values.push_back(value);
        begin = end + 1;
      }
    return true;
  };
  CLI::Option* option = command.add_option(names, read, what)->expected(-1);
  return values.empty() ? option : option->default_str(fmt::format("{}", fmt::join(values, ",")));
}

void ModelOptions::add(CLI::App& command, const std::string& what) {
  command.add_option("--model", model, what)->check(given())->type_name("M")->group("Model");
}

Result<std::string> ModelOptions::path() const {
  const std::string found = model.empty() ? default_model_path() : model;
  if (found.empty()) return fail(Errc::not_found, "no model given (--model M), and none came with this program");
  return model_folder(found);
}

void DeviceFlags::add(CLI::App& command) {
  const char* group = "Device";
  command.add_option("--device", device, "Where the model runs: cpu, cuda:N, vulkan:N")
      ->check(given())
      ->type_name("D")
      ->group(group);
  command.add_option("-t,--threads", threads, "CPU threads; 0: one for each core")
      ->check(whole_in(0, CpuOptions::max_threads))
      ->type_name("N")
      ->group(group);
  command.add_flag("--exact", exact, "f32 arithmetic and activations, no approximations")->group(group);
}

void SamplingFlags::add(CLI::App& command) {
  constexpr double any = std::numeric_limits<double>::max();
  constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
  SamplerOptions& o = options;
  const auto real = [&](const char* names, double& value, double low, double high, const char* what) {
    command.add_option(names, value, what)->check(real_in(low, high))->type_name("X")->group("Sampling");
  };
  const auto whole = [&](const char* names, int& value, std::int64_t low, const char* what) {
    command.add_option(names, value, what)->check(whole_in(low, most))->type_name("N")->group("Sampling");
  };
  real("--temp,--temperature", o.temp, 0, any, "Temperature; 0 takes the most likely token");
  real("--top-p", o.top_p, 0, 1, "Nucleus: the most likely tokens that reach this probability; 0 and 1 keep all");
  real("--min-p", o.min_p, 0, 1, "Least probability, as a share of the most likely token's; 0 is off");
  whole("--min-tokens-to-keep", o.min_tokens_to_keep, 1, "Tokens that --min-p never drops");
  whole("--top-k", o.top_k, 0, "Keep the K most likely tokens; 0 is off");
  real("--xtc-probability", o.xtc_probability, 0, 1, "How often XTC drops the likeliest choices; 0 is off");
  real("--xtc-threshold", o.xtc_threshold, 0, 0.5, "XTC drops all tokens above this probability but the last");
  real("--repetition-penalty,--repeat-penalty", o.repetition_penalty, 0, any,
       "Divides the logits of recent tokens; 0 is off");
  whole("--repetition-context-size,--repeat-last-n", o.repetition_context_size, 0,
        "How many tokens are recent; 0 is all");
  real("--presence-penalty", o.presence_penalty, -any, any, "Subtracted from the logits of recent tokens");
  real("--frequency-penalty", o.frequency_penalty, -any, any, "Subtracted for each time a token is recent");
  command
      .add_option_function<std::string>(
          "--logit-bias", [&o](const std::string& text) { o.logit_bias = parse_logit_bias(text); },
          "Added to logits: a JSON object of token ids and numbers")
      ->type_name("JSON")
      ->group("Sampling");
  command
      .add_option_function<std::uint64_t>(
          "-s,--seed", [&o](const std::uint64_t& seed) { o.seed = seed; },
          "The same seed gives the same text; by default every run differs")
      ->check(whole_in(0, std::numeric_limits<std::int64_t>::max()))
      ->type_name("N")
      ->group("Sampling");
}

void JsonFlag::add(CLI::App& command, const std::string& what) {
  command.add_flag("--json", json, what)->group("Output");
}

}  // namespace halyard::cli

#include "halyard/cli/load.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <limits>
#include <vector>

#include <fmt/format.h>

namespace halyard::cli {

Result<Device> open_device(const DeviceFlags& flags) {
  return Device::open(flags.device, {.cpu = {.threads = flags.threads}, .profile = flags.profile});
}

Result<LoadedModel> load(const ModelOptions& options, const DeviceFlags& flags, Text wanted) {
  const std::string path = HALYARD_TRY(options.path());
  ModelDir dir = HALYARD_TRY(ModelDir::open(path));
  std::optional<engine::TextModel> text;
  if (wanted != Text::none) text = HALYARD_TRY(engine::TextModel::load(dir, wanted == Text::chat));
  dir.prefetch();
  Progress bar("Loading", dir.weight_bytes());
  const auto progress = [&bar](std::size_t done, std::size_t) { bar.update(done); };
  const ops::Precision precision = flags.exact ? ops::Precision::exact : ops::Precision::fast;
  Device device = HALYARD_TRY(open_device(flags));
  models::Model model = HALYARD_TRY(models::Model::load(std::move(device), dir, precision, progress));
  return LoadedModel{std::move(dir), std::move(text), std::move(model)};
}

Result<FileWriter> open_output(const std::string& path, const std::string& model) {
  std::vector<std::string> in_use = {"/dev/stdin", model};
  for (const std::string& name : names_in(model).value_or(std::vector<std::string>()))
    in_use.push_back(model + "/" + name);
  return FileWriter::create(path, in_use);
}

Result<std::string> text_or_input(Context& context, const std::string& text) {
  if (text != "-") return text;
  return context.in.all();
}

std::size_t window_size(std::int64_t given) {
  return static_cast<std::size_t>(std::min<std::int64_t>(given, std::numeric_limits<std::int32_t>::max()));
}

Result<engine::GenerateStats> with_advice(Result<engine::GenerateStats> outcome) {
  if (!outcome && outcome.error().code == Errc::limit_exceeded)
    outcome.error().message += " (--max-kv-size keeps the last ones only)";
  return outcome;
}

std::size_t peak_resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    std::size_t kib = 0;  // "VmHWM:	  123456 kB"
    if (!line.starts_with("VmHWM:")) continue;
    const std::size_t digits = line.find_first_of("0123456789");
    if (digits != std::string::npos) std::from_chars(line.data() + digits, line.data() + line.size(), kib);
    return kib * 1024;
  }
  return 0;
}

std::string pin_note(const Residency& r) {
  if (r.refusal.empty()) return {};
  return fmt::format("pinned {} of {}: {}", human_bytes(r.pinned_bytes), human_bytes(r.bytes), r.refusal);
}

std::string human_bytes(std::size_t bytes) {
  constexpr std::array<const char*, 5> units = {"B", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1000 && unit + 1 < units.size()) value /= 1000, ++unit;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.2f} {}", value, units[unit]);
}

}  // namespace halyard::cli

#include "halyard/cli/bench_report.h"

#include <algorithm>
#include <fstream>

#include <fmt/format.h>

#include "halyard/cli/load.h"

namespace halyard::cli {
namespace {

std::string escape(std::string text) {
  for (const auto& [from, to] : {std::pair{'&', "&amp;"}, std::pair{'<', "&lt;"}, std::pair{'>', "&gt;"}}) {
    for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += std::string_view(to).size()) {
      text.replace(at, 1, to);
    }
  }
  return text;
}

bool is_affine(const std::string& format) { return format.starts_with("affine") || format == "q4" || format == "q8"; }

}  // namespace

std::string weight_format(const ModelDir& dir) {
  if (const auto& q = dir.quantization()) return fmt::format("{} {}-bit", q->mode, q->bits);
  std::size_t bytes = 0;
  std::string format = "no weights";
  for (const Tensor& t : dir.tensors()) {
    if (t.data.size() > bytes) {
      bytes = t.data.size();
      format = to_string(t.dtype);
    }
  }
  return format;
}

/// Writing is limited by reading the weights from memory, reading a prompt by the arithmetic on them.
BenchReport::Limit BenchReport::limit_of(const engine::BenchResult& r) const {
  const engine::BenchDemand demand = engine::bench_demand(model_, r.test);
  const double speed = r.mean_speed();
  if (r.test.n_prompt == 0) return {"read_gb_s", limits_.read_gb_s, demand.bytes_per_token * speed / 1e9};
  const double reached = demand.operations_per_token * speed / 1e9;
  const bool fast = model_.precision() == ops::Precision::fast;
  if (fast && is_affine(format_) && limits_.int8_gop_s > 0) return {"int8_gop_s", limits_.int8_gop_s, reached};
  if (fast && format_ == "bf16" && limits_.bf16_gflop_s > 0) return {"bf16_gflop_s", limits_.bf16_gflop_s, reached};
  return {"f32_gflop_s", limits_.f32_gflop_s, reached};
}

std::string BenchReport::test_name(const engine::BenchTest& t) const {
  const std::string depth = t.depth ? fmt::format(" @ d{}", t.depth) : "";
  return (t.n_prompt ? fmt::format("pp{}", t.n_prompt) : fmt::format("tg{}", t.n_gen)) + depth;
}

namespace {

double ms(std::chrono::nanoseconds t) { return std::chrono::duration<double, std::milli>(t).count(); }

double total_ms(const Profile& p) {
  double total = 0;
  for (const ProfileRow& row : p.kernels) total += ms(row.thread_time);
  return total;
}

/// 10^9 bytes a second of the windows that it binds, whether it reads all of them or not.
double gb_s(const ProfileRow& row) {
  return row.elapsed.count() ? static_cast<double>(row.bytes) / static_cast<double>(row.elapsed.count()) : 0;
}

/// Times are the threads' together.
std::string profile_table(const std::string& test, const Profile& p) {
  if (p.kernels.empty()) return {};
  const double total = total_ms(p);
  std::string out = fmt::format("\n| kernel in {} | calls | ms, all threads | share | GB/s at most |\n", test);
  out += "| --- | ---: | ---: | ---: | ---: |\n";
  for (const ProfileRow& row : p.kernels)
    out += fmt::format("| {} | {} | {:.2f} | {:.1f} % | {:.1f} |\n", row.name, row.calls, ms(row.thread_time),
                       100 * ms(row.thread_time) / total, gb_s(row));
  out += fmt::format("| all | | {:.2f} | 100.0 % | |\n", total);
  return out +
         "\nGB/s at most: of all bytes bound, read or not, as a KV cache to its end or a whole table of embeddings; "
         "from caches too.\n";
}

Json rows_json(const char* what, const std::vector<ProfileRow>& rows, double total) {
  Json all = Json::array();
  for (const ProfileRow& row : rows)
    all.push_back(Json::object({{what, row.name},
                                {"calls", row.calls},
                                {"thread_ms", ms(row.thread_time)},
                                {"elapsed_ms", ms(row.elapsed)},
                                {"share", total > 0 ? ms(row.thread_time) / total : 0},
                                {"bytes_bound", row.bytes},
                                {"gb_s_at_most", gb_s(row)}}));
  return all;
}

Json stats_json(const Stats& s) {
  return Json::object({{"command_buffers", s.command_buffers},
                       {"syncs", s.syncs},
                       {"dispatches", s.dispatches},
                       {"auto_barriers", s.auto_barriers},
                       {"concurrent_dispatches", s.concurrent_dispatches},
                       {"explicit_barriers", s.explicit_barriers},
                       {"kernels_compiled", s.kernels_compiled},
                       {"bytes_allocated", s.bytes_allocated},
                       {"peak_bytes", s.peak_bytes},
                       {"submit_ns", s.submit_ns}});
}

Json residency_json(const Residency& r) {
  return Json::object({{"count", r.count},
                       {"bytes", r.bytes},
                       {"pinned_bytes", r.pinned_bytes},
                       {"pin_limit", r.pin_limit},
                       {"refusal", r.refusal}});
}

std::vector<ProfileRow> since(const std::vector<ProfileRow>& before, std::vector<ProfileRow> now) {
  for (ProfileRow& row : now) {
    const auto same = [&](const ProfileRow& r) { return r.name == row.name; };
    const auto was = std::find_if(before.begin(), before.end(), same);
    if (was == before.end()) continue;
    row.calls -= was->calls;
    row.thread_time -= was->thread_time;
    row.elapsed -= was->elapsed;
    row.bytes -= was->bytes;
  }
  std::erase_if(now, [](const ProfileRow& row) { return row.calls == 0; });
  std::stable_sort(now.begin(), now.end(),
                   [](const ProfileRow& a, const ProfileRow& b) { return a.thread_time > b.thread_time; });
  return now;
}

}  // namespace

Profile since(const Profile& before, Profile now) {
  return {since(before.kernels, std::move(now.kernels)), since(before.labels, std::move(now.labels))};
}

std::string BenchReport::markdown() const {
  const Capabilities& c = model_.device().capabilities();
  std::string out = fmt::format(
      "{}, {} threads, {}: reads {:.1f} GB/s, int8 {:.0f} Gop/s, bf16 {:.0f} Gflop/s, f32 {:.0f} Gflop/s\n\n", c.name,
      c.threads, c.isa, limits_.read_gb_s, limits_.int8_gop_s, limits_.bf16_gflop_s, limits_.f32_gflop_s);
  out += "| model | size | params | backend | threads | parallel | test | t/s | of limit | recording | submitting |\n";
  out += "| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n";
  for (const engine::BenchResult& r : results_) {
    const Limit limit = limit_of(r);
    out += fmt::format(
        "| {} {} | {} | {:.2f} M | {} | {} | {} | {} | {:.2f} ± {:.2f} | {:.0f} % of {} | {:.2f} % | {:.2f} % |\n",
        name_, format_, human_bytes(model_.totals().bytes), static_cast<double>(model_.totals().parameters) / 1e6,
        c.backend, c.threads, r.test.parallel, test_name(r.test), r.mean_speed(), r.speed_deviation(),
        100 * limit.share(), limit.name, 100 * r.record_share, 100 * r.submit_share);
  }
  for (std::size_t i = 0; i < results_.size(); ++i)
    out += profile_table(test_name(results_[i].test), sights_[i].profile);
  return out;
}

Json BenchReport::object(const engine::BenchResult& r, const BenchSight& sight) const {
  const Capabilities& c = model_.device().capabilities();
  const Limit limit = limit_of(r);
  std::vector<double> samples_ns, samples_ts;
  for (const double s : r.seconds) {
    samples_ns.push_back(s * 1e9);
    samples_ts.push_back(static_cast<double>(r.test.tokens()) / s);
  }
  Json all =
      Json::object({{"cpu_info", c.name},
                    {"isa", c.isa},
                    {"backend", c.backend},
                    {"backends", c.backend},
                    {"model_type", name_ + " " + format_},
                    {"model_size", model_.totals().bytes},
                    {"model_n_params", model_.totals().parameters},
                    {"n_batch", batch_},
                    {"n_threads", c.threads},
                    {"type_k", model_.precision() == ops::Precision::exact ? "f32" : "f16"},
                    {"type_v", model_.precision() == ops::Precision::exact ? "f32" : "f16"},
                    {"n_prompt", r.test.n_prompt},
                    {"n_gen", r.test.n_gen},
                    {"n_depth", r.test.depth},
                    {"n_parallel", r.test.parallel},
                    {"avg_ns", r.mean_seconds() * 1e9},
                    {"avg_ts", r.mean_speed()},
                    {"stddev_ts", r.speed_deviation()},
                    {"samples_ns", samples_ns},
                    {"samples_ts", samples_ts},
                    {"of_limit", limit.share()},
                    {"limit", Json::object({{"name", limit.name}, {"limit", limit.limit}, {"reached", limit.reached}})},
                    {"limits", Json::object({{"read_gb_s", limits_.read_gb_s},
                                             {"int8_gop_s", limits_.int8_gop_s},
                                             {"bf16_gflop_s", limits_.bf16_gflop_s},
                                             {"f32_gflop_s", limits_.f32_gflop_s}})},
                    {"record_share", r.record_share},
                    {"submit_share", r.submit_share},
                    {"stats", stats_json(sight.stats)},
                    {"residency", residency_json(model_.device().residency())}});
  if (const Profile& p = sight.profile; !p.kernels.empty()) {
    all["profile"] = rows_json("kernel", p.kernels, total_ms(p));
    all["stages"] = rows_json("label", p.labels, total_ms(p));
  }
  return all;
}

std::string BenchReport::json() const {
  Json all = Json::array();
  for (std::size_t i = 0; i < results_.size(); ++i) all.push_back(object(results_[i], sights_[i]));
  return all.dump(2) + "\n";
}

/// One bar a test, as long as the share of the limit it reached.
std::string BenchReport::svg() const {
  constexpr int left = 130, width = 420, row = 30, top = 50;
  const int height = top + row * static_cast<int>(results_.size()) + 30;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" font-family=\"sans-serif\" "
      "font-size=\"13\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"10\" y=\"24\" font-size=\"15\">{}</text>\n",
      left + width + 220, height,
      escape(fmt::format("{} {} on {}, {} threads: share of the machine's limit", name_, format_,
                         model_.device().capabilities().name, model_.device().capabilities().threads)));
  for (int tick = 0; tick <= 4; ++tick) {
    const int x = left + width * tick / 4;
    svg += fmt::format(
        "<line x1=\"{0}\" y1=\"{1}\" x2=\"{0}\" y2=\"{2}\" stroke=\"#ddd\"/>\n<text x=\"{0}\" y=\"{3}\" "
        "text-anchor=\"middle\" fill=\"#666\">{4} %</text>\n",
        x, top - 10, height - 30, height - 10, 25 * tick);
  }
  for (std::size_t i = 0; i < results_.size(); ++i) {
    const engine::BenchResult& r = results_[i];
    const Limit limit = limit_of(r);
    const int y = top + row * static_cast<int>(i);
    const double bar = std::clamp(limit.share(), 0.0, 1.0) * width;
    const std::string many = r.test.parallel > 1 ? fmt::format(" × {}", r.test.parallel) : "";
    svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}{}</text>\n", left - 8, y + 14,
                       escape(test_name(r.test)), many);
    svg += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{:.1f}\" height=\"18\" fill=\"#4878a8\"/>\n", left, y, bar);
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\">{:.1f} t/s, {:.0f} % of {}</text>\n", left + bar + 6, y + 14,
                       r.mean_speed(), 100 * limit.share(), limit.name);
  }
  return svg + "</svg>\n";
}

}  // namespace halyard::cli

#include "halyard/hal/profiler.h"

#include <algorithm>

#include <fmt/format.h>

#include "halyard/base/json.h"
#include "halyard/hal/submission.h"

namespace halyard {

void Profiler::keep(const Event& e) {
  if (events_.size() < max_events) events_.push_back(e);
  else ++left_out_;
}

void Profiler::add(const Submission& s, std::span<const Span> spans) noexcept {
  if_memory([&] { count(s, spans); });
}

void Profiler::count(const Submission& s, std::span<const Span> spans) {
  struct Dispatched {
    const Record* record = nullptr;  // null: no tile of it ran
    std::chrono::nanoseconds thread_time{0};
    Clock::time_point begin = Clock::time_point::max(), end = Clock::time_point::min();
  };
  std::vector<Dispatched> dispatched;
  for (const Span& span : spans) {
    if (span.dispatch >= dispatched.size()) dispatched.resize(span.dispatch + std::size_t{1});
    Dispatched& d = dispatched[span.dispatch];
    d.record = span.record;
    d.thread_time += span.end - span.begin;
    d.begin = std::min(d.begin, span.begin);
    d.end = std::max(d.end, span.end);
  }

  const std::lock_guard lock(mutex_);
  const auto label = by_label_.try_emplace(s.label.empty() ? "(no label)" : s.label).first;
  ProfileRow& stage = label->second;
  ++stage.calls;
  stage.elapsed += s.ended - s.started;
  keep({label->first, 0, s.started, s.ended});
  for (const Dispatched& d : dispatched) {
    if (!d.record) continue;
    const KernelDef* def = d.record->kernel->def;
    std::uint64_t bytes = 0;
    for (std::size_t b = 0; b < def->access.size(); ++b) bytes += d.record->bindings[b].bytes;
    ProfileRow& row = by_kernel_[def];
    ++row.calls;
    row.elapsed += d.end - d.begin;
    row.thread_time += d.thread_time;
    row.bytes += bytes;
    stage.thread_time += d.thread_time;
    stage.bytes += bytes;
  }
  for (const Span& span : spans) keep({span.record->kernel->def->name, span.lane + 1, span.begin, span.end});
}

Profile Profiler::profile() const {
  const auto sort = [](std::vector<ProfileRow>& rows) {
    std::stable_sort(rows.begin(), rows.end(),
                     [](const ProfileRow& a, const ProfileRow& b) { return a.thread_time > b.thread_time; });
  };
  Profile p;
  const std::lock_guard lock(mutex_);
  for (const auto& [def, row] : by_kernel_) p.kernels.emplace_back(row).name = def->name;
  for (const auto& [name, row] : by_label_) p.labels.emplace_back(row).name = name;
  sort(p.kernels);
  sort(p.labels);
  return p;
}

void Profiler::reset() {
  const std::lock_guard lock(mutex_);
  events_.clear();
  by_kernel_.clear();
  by_label_.clear();
  left_out_ = 0;
}

// The format is Google's "Trace Event Format": complete events ("X"), times in microseconds.
std::string Profiler::trace() const {
  const std::lock_guard lock(mutex_);
  auto zero = Clock::time_point::max();
  std::uint32_t lanes = 0;
  for (const Event& e : events_) {
    zero = std::min(zero, e.begin);
    lanes = std::max(lanes, e.lane);
  }
  const auto us = [](Clock::duration d) { return std::chrono::duration<double, std::micro>(d).count(); };
  const auto quoted = [](std::string_view s) { return Json(s).dump(); };
  std::string labels;
  for (const auto& [name, row] : by_label_)
    labels += fmt::format("{}\n{}:{{\"calls\":{},\"us\":{:.3f},\"thread_us\":{:.3f}}}", labels.empty() ? "" : ",",
                          quoted(name), row.calls, us(row.elapsed), us(row.thread_time));
  std::string out = fmt::format(
      "{{\"displayTimeUnit\":\"ns\",\"otherData\":{{\"spans_left_out\":{},\"labels\":{{{}}}}},\"traceEvents\":[",
      left_out_, labels);
  for (std::uint32_t lane = 0; lane <= lanes; ++lane)
    out +=
        fmt::format("{}\n{{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":1,\"tid\":{},\"args\":{{\"name\":\"{}\"}}}}",
                    lane ? "," : "", lane, lane ? fmt::format("thread {}", lane) : "command buffers");
  for (const Event& e : events_)
    out += fmt::format(",\n{{\"name\":{},\"ph\":\"X\",\"pid\":1,\"tid\":{},\"ts\":{:.3f},\"dur\":{:.3f}}}",
                       quoted(e.name), e.lane, us(e.begin - zero), us(e.end - e.begin));
  return out + "\n]}\n";
}

}  // namespace halyard

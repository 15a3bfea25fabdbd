#include "halyard/hal/cpu/job.h"

#include <cstdio>

#include <fmt/format.h>

namespace halyard {

Result<std::unique_ptr<CompiledKernel>> compile_cpu_form(const KernelDef& def, Isa isa,
                                                         const Constants& specialisation) {
  const CpuForm& form = *def.forms.cpu;
  if (!form.tile.x || !form.tile.y || !form.tile.z)
    return fail(Errc::invalid_argument, fmt::format("kernel {}: an empty tile", def.name));
  auto made = std::make_unique<CpuKernel>();
  made->run = form.select ? form.select(isa, specialisation) : nullptr;
  if (!made->run)
    return fail(Errc::unsupported, fmt::format("kernel {} has no CPU form for these constants", def.name));
  made->restartable = form.restartable;
  made->block = form.tile;
  made->launch = form.launch;
  return made;
}

bool CpuTile::may_write() const {
  using Answer = CpuJob::Answer;
  if (!job) return true;  // called outside a command buffer, by a test
  if (job->answer == Answer::none) job->answer = !job->attempt || job->attempt->close() ? Answer::yes : Answer::no;
  return job->answer == Answer::yes;
}

void CpuTile::fail(const char* format, long long a, long long b) const {
  char text[256];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  std::snprintf(text, sizeof text, format, a, b);
#pragma GCC diagnostic pop
  if (!job || !may_write()) return;
  job->submission->fail_with(Errc::kernel_failed,
                             [&] { return fmt::format("kernel {}: {}", job->record->kernel->def->name, text); });
}

void kernel_threw(const CpuTile& t, const char* what) {
  if (!t.may_write()) return;  // another thread does the tile
  t.job->submission->fail_with(
      Errc::kernel_failed, [&] { return fmt::format("kernel {} threw: {}", t.job->record->kernel->def->name, what); });
}

}  // namespace halyard

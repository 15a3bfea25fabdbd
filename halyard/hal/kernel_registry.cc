#include "halyard/hal/kernel_registry.h"

#include <fmt/format.h>

#include "halyard/hal/state.h"

namespace halyard {
namespace {
tl::unexpected<Error> refuse_namesake(const KernelDef& def) {
  return fail(Errc::invalid_argument, fmt::format("two kernels are named {}", def.name));
}
}  // namespace

const CompiledKernel* KernelRegistry::find(const KernelDef& def, const Constants& specialisation) const {
  const std::shared_lock lock(mutex_);
  const auto it = compiled_.find(&def);
  if (it == compiled_.end()) return nullptr;
  for (const Entry& e : it->second)
    if (e.specialisation == specialisation) return e.compiled.get();
  return nullptr;
}

bool KernelRegistry::has_another_named(const KernelDef& def) const {
  const auto it = by_name_.find(def.name);
  return it != by_name_.end() && it->second != &def;
}

Result<const CompiledKernel*> KernelRegistry::find_or_compile(const KernelDef& def, const Constants& specialisation) {
  if (const auto* k = find(def, specialisation)) return k;
  const std::lock_guard one_at_a_time(compile_mutex_);
  if (const auto* k = find(def, specialisation)) return k;
  if (!def.access.valid())
    return fail(Errc::invalid_argument,
                fmt::format("kernel {}: bindings are declared with up to {} of the letters r, w, x", def.name,
                            AccessList::max_bindings));
  {
    const std::shared_lock lock(mutex_);
    if (has_another_named(def)) return refuse_namesake(def);
  }
  Driver& driver = *device_.driver;
  if (!def.forms.has(driver.backend()))
    return fail(Errc::unsupported,
                fmt::format("kernel {} has no form for {}", def.name, driver.capabilities().backend));
  auto compiled = HALYARD_TRY(driver.compile(def, specialisation));
  compiled->def = &def;
  compiled->device = &device_;
  const std::unique_lock lock(mutex_);
  if (has_another_named(def)) return refuse_namesake(def);  // it was registered meanwhile
  auto& entries = compiled_[&def];
  if (entries.size() == entries.capacity()) entries.reserve(2 * entries.size() + 1);
  by_name_.try_emplace(def.name, &def);  // only now: a kernel that was refused may go away
  device_.stats.kernels_compiled.fetch_add(1, std::memory_order_relaxed);
  return entries.emplace_back(Entry{specialisation, std::move(compiled)}).compiled.get();
}

Result<void> KernelRegistry::add(std::span<const KernelDef* const> defs) {
  for (std::size_t i = 0; i < defs.size(); ++i)
    if (!defs[i])
      return fail(Errc::invalid_argument, fmt::format("register_kernels: kernel {} of {} is null", i, defs.size()));
  const std::unique_lock lock(mutex_);
  for (const KernelDef* def : defs)
    if (by_name_.try_emplace(def->name, def).first->second != def) return refuse_namesake(*def);
  return {};
}

const KernelDef* KernelRegistry::named(std::string_view name) const {
  const std::shared_lock lock(mutex_);
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : it->second;
}

}  // namespace halyard

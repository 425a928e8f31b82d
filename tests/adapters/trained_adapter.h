#pragma once
#include <ATen/CPUGeneratorImpl.h>

#include <memory>
#include <string>

#include "config/sections.h"
#include "small_model.h"

namespace lora::test {

/// The options of an `adapter` section.
inline peft::MethodOptions read_options(const Json& section) {
  config::Findings findings;
  const config::Surroundings nowhere;
  const config::Context context{std::filesystem::current_path(), {}, nowhere};
  peft::MethodOptions options = config::read_adapter(section, config::ConfigPlace{"adapter", findings}, context).options;
  findings.throw_if_any();
  return options;
}

/// Writes an adapter with large values as a run would. Returns the loss with it.
inline double train_and_save(const Json& section, const std::filesystem::path& base, const std::filesystem::path& folder) {
  const models::BaseModel model = load_small(base);
  const auto method = peft::attach_adapter(read_options(section), *model.model, "base", 42);
  const at::NoGradGuard no_grad;
  uint64_t seed = 1;
  for (const nn::Parameter& parameter : method->parameters()) {
    const at::Tensor noise = at::randn(parameter.tensor.sizes(), at::detail::createCPUGenerator(seed++));
    parameter.tensor.detach().add_(parameter.name.ends_with("magnitude_vector") ? parameter.tensor.detach() * noise * 0.2 : noise * 0.2);
  }
  std::filesystem::create_directories(folder);
  method->save(folder);
  return loss_of(*model.model);
}

/// Continues training from the adapter with lora-train's init_from. Returns the loss at the start.
/// @param saved where to save the result; empty: nowhere.
inline double continued_loss(const std::filesystem::path& base, const std::filesystem::path& folder,
                             const std::filesystem::path& saved = {}) {
  const models::BaseModel model = load_small(base);
  const auto method = peft::attach_adapter(read_options({{"init_from", folder.string()}}), *model.model, "base", 7);
  if (!saved.empty()) {
    std::filesystem::create_directories(saved);
    method->save(saved);
  }
  return loss_of(*model.model);
}

}  // namespace lora::test

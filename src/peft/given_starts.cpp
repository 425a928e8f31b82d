#include "lora/peft/given_starts.h"

#include <ATen/ATen.h>

#include "lora/base/error.h"
#include "lora/peft/adapter_folder.h"
#include "peft/keys.h"
#include "peft/lora.h"
#include "peft/lora_init.h"
#include "peft/targets.h"

namespace lora::peft {

std::unique_ptr<Method> attach_with_starts(const LoraOptions& options, const std::vector<ModuleStart>& starts, nn::Model& model,
                                           const BaseReference& base, uint64_t seed) {
  return attach_lora(options, model, base, seed, "default", starts);
}

std::vector<ModuleStart> saved_starts(const LoraOptions& options, nn::Model& model, const std::filesystem::path& folder) {
  const AdapterFolder file(folder);
  std::vector<ModuleStart> starts;
  for (const nn::Linear* host : choose_hosts(options, model, /*warns=*/false).hosts) {
    const std::string& module = host->name();
    const int64_t rank = pair_size(options, module).rank;
    const Tensor* const A_RI = file.find(a_name(*host));
    const Tensor* const B_OR = file.find(tensor_name(module, ParameterRole::kLowRankB));
    if (A_RI == nullptr || B_OR == nullptr || A_RI->size(0) != 2 * rank || B_OR->size(1) != 2 * rank) {
      model_error(file.weights_file().string(),
                  "lacks the initial values of " + module + ": expected lora_A and lora_B of rank " + std::to_string(2 * rank) +
                      ", of which the second half is subtracted from the base");
    }
    starts.push_back({module, A_RI->slice(0, rank).clone(), -B_OR->slice(1, rank)});
  }
  return starts;
}

}  // namespace lora::peft

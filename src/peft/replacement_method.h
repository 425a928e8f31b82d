#pragma once
#include <memory>
#include <string>

#include "lora/peft/adapter.h"
#include "lora/peft/adapter_folder.h"
#include "lora/peft/method.h"
#include "lora/peft/replacement_options.h"

// The methods that train copies of some of the base's own weights: norms, biases, rows of embeddings. The copies are float32 and replace
// the base's values while the adapter is in use (nn::BaseWeight, nn::TokenRows).
namespace lora::peft {

/// Attach what the method trains, and what modules_to_save adds (attach_adapter).
std::unique_ptr<Method> attach_replacements(const LnTuningOptions& options, nn::Model& model, const BaseReference& base,
                                            const std::string& adapter_name);
std::unique_ptr<Method> attach_replacements(const BitFitOptions& options, nn::Model& model, const BaseReference& base,
                                            const std::string& adapter_name);
std::unique_ptr<Method> attach_replacements(const TrainableTokensOptions& options, nn::Model& model, const BaseReference& base,
                                            const std::string& adapter_name);

/// Throw what attaching would throw for the choice of modules.
void require_replacement_targets(const LnTuningOptions& options, nn::Model& model);
void require_replacement_targets(const BitFitOptions& options, nn::Model& model);
void require_replacement_targets(const TrainableTokensOptions& options, nn::Model& model);

/// A stored adapter of these methods as changes of weights (read_adapter).
/// @param token_indices of the rows in the file. @param name the method's, for messages.
Adapter read_replacements(const AdapterFolder& folder, const TargetOptions& options, const std::vector<int64_t>& token_indices,
                          const char* name);

}  // namespace lora::peft

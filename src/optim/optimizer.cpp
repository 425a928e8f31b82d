#include "lora/optim/optimizer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <array>
#include <cmath>
#include <memory>

#include "lora/base/error.h"
#include "lora/base/json.h"
#include "lora/base/text.h"
#include "lora/nn/weight_changes.h"
#include "optim/kinds.h"
#include "optim/state_memory.h"

namespace lora::optim {
namespace {

struct OptimizerEntry {
  OptimizerKind kind;
  std::unique_ptr<Optimizer> (*make)(OptimizerParts);
};

/// torch's fused and unfused AdamW use the same formula and only differ in rounding, so both names mean the fused one. Paged optimisers
/// differ from the others in the memory of their moments.
constexpr std::array<OptimizerEntry, 16> kOptimizerTable{{
    {OptimizerKind::kAdamWFused, make_adamw},
    {OptimizerKind::kAdamW, make_adamw},
    {OptimizerKind::kAdamW8bit, make_adamw_8bit},
    {OptimizerKind::kAdamWBnb8bit, make_adamw_8bit},
    {OptimizerKind::kPagedAdamW, make_adamw_32bit},
    {OptimizerKind::kPagedAdamW32bit, make_adamw_32bit},
    {OptimizerKind::kPagedAdamW8bit, make_adamw_8bit},
    {OptimizerKind::kAdafactor, make_adafactor},
    {OptimizerKind::kLion, make_lion},
    {OptimizerKind::kLion32bit, make_lion_32bit},
    {OptimizerKind::kLion8bit, make_lion_8bit},
    {OptimizerKind::kPagedLion, make_lion_32bit},
    {OptimizerKind::kPagedLion32bit, make_lion_32bit},
    {OptimizerKind::kPagedLion8bit, make_lion_8bit},
    {OptimizerKind::kSgd, make_sgd},
    {OptimizerKind::kLoraFa, make_lora_fa},
}};
static_assert(kOptimizerTable.size() == kOptimizers.entries.size());

/// Elements of a group whose moments are in a file (after each group, this process gives up their pages), or whose gradients are copied
/// to float32.
constexpr int64_t kElementsAtOnce = int64_t{1} << 22;

void require_argument(bool holds, const std::string& key, double found, const std::string& expected) {
  if (!holds) {
    config_error("training." + key, "the value is out of range: found " + shown(found) + ", expected " + expected);
  }
}

void require_valid_options(const OptimizerOptions& options, double learning_rate) {
  const auto not_negative = [](double value) { return std::isfinite(value) && value >= 0.0; };
  require_argument(not_negative(learning_rate), "learning_rate", learning_rate, "a finite number of at least 0");
  require_argument(not_negative(options.weight_decay), "weight_decay", options.weight_decay, "a finite number of at least 0");
  require_argument(not_negative(options.epsilon), "adam_epsilon", options.epsilon, "a finite number of at least 0");
  require_argument(options.beta1 >= 0.0 && options.beta1 < 1.0, "adam_beta1", options.beta1, "a number of at least 0 and below 1");
  require_argument(options.beta2 >= 0.0 && options.beta2 < 1.0, "adam_beta2", options.beta2, "a number of at least 0 and below 1");
  if (const LoraPlusOptions& plus = options.loraplus; plus.lr_ratio) {
    require_argument(std::isfinite(*plus.lr_ratio) && *plus.lr_ratio > 0.0, "loraplus_lr_ratio", *plus.lr_ratio, "a finite number above 0");
    require_argument(not_negative(plus.lr_embedding), "loraplus_lr_embedding", plus.lr_embedding, "a finite number of at least 0");
    require_argument(not_negative(plus.weight_decay), "loraplus_weight_decay", plus.weight_decay, "a finite number of at least 0");
    require_argument(learning_rate > 0.0, "learning_rate", learning_rate, "a number above 0 with loraplus_lr_ratio");
  }
}

void require_parameters(const std::vector<nn::Parameter>& parameters) {
  if (parameters.empty()) {
    config_error("adapter",
                 "there is nothing to train: found 0 trainable parameters, expected at least one. "
                 "Check target_modules and layers_to_transform.");
  }
}

/// The checked tensor of the file that replaces `current`.
at::Tensor stored_state(const io::SafetensorsFile& file, const io::NamedTensor& current) {
  if (!file.contains(current.name)) {
    model_error(current.name, "the optimizer state lacks this tensor. The checkpoint belongs to a run with other trained parameters.");
  }
  at::Tensor stored = file.tensor(current.name);
  if (stored.sizes() != current.tensor.sizes() || stored.scalar_type() != current.tensor.scalar_type()) {
    model_error(current.name, c10::str("the optimizer state does not match: found ", c10::toString(stored.scalar_type()), " ",
                                       stored.sizes(), ", expected ", c10::toString(current.tensor.scalar_type()), " ",
                                       current.tensor.sizes(),
                                       ". The checkpoint belongs to a run with other shapes, another dtype or another optim."));
  }
  return stored;
}

std::unique_ptr<Optimizer> make_in(std::shared_ptr<StateMemory> memory, StatePlace place, const OptimizerOptions& options,
                                   const std::vector<nn::Parameter>& parameters, double learning_rate) {
  std::vector<ParameterGroup> groups = group_parameters(parameters, options, learning_rate);
  const bool is_wide = options.weight_update != WeightUpdate::kInPlace;
  if (is_wide || place == StatePlace::kFile) {
    groups = split_groups(groups, kElementsAtOnce);
  }
  std::shared_ptr<WideWeights> wide = is_wide ? std::make_shared<WideWeights>(options, groups, *memory) : nullptr;
  for (const OptimizerEntry& entry : kOptimizerTable) {
    if (entry.kind == options.kind) {
      return entry.make({options, std::move(groups), std::move(memory), std::move(wide)});
    }
  }
  config_error("training.optim", "unknown optimizer: expected one of " + join(kOptimizers.names()));
}

/// Adds up the moments without allocating them. Returns the size of the whole state.
int64_t count_state(const std::shared_ptr<CountedState>& counted, const OptimizerOptions& options,
                    const std::vector<nn::Parameter>& parameters) {
  std::vector<nn::Parameter> shapes;  // without data
  for (const nn::Parameter& parameter : parameters) {
    shapes.push_back({parameter.name, at::empty_like(parameter.tensor, at::kMeta), parameter.weight_decay, parameter.role});
  }
  int64_t bytes = 0;
  for (const io::NamedTensor& entry : make_in(counted, StatePlace::kMemory, options, shapes, /*learning_rate=*/1.0)->state()) {
    bytes += static_cast<int64_t>(entry.tensor.nbytes());
  }
  return bytes;
}

/// Of float32 copies that last for the update of one group.
int64_t update_bytes(const OptimizerOptions& options, const std::vector<nn::Parameter>& parameters) {
  if (options.weight_update == WeightUpdate::kInPlace) {
    return 0;
  }
  return wide_update_bytes(options, split_groups(group_parameters(parameters, options, /*learning_rate=*/1.0), kElementsAtOnce));
}

}  // namespace

void Optimizer::step(double learning_rate, double gradient_scale) {
  update(learning_rate, gradient_scale);
  nn::trained_weights_changed();
}

void Optimizer::load_state(const io::SafetensorsFile& file) {
  const at::NoGradGuard no_grad;
  const std::vector<io::NamedTensor> current = state();
  std::vector<at::Tensor> stored;  // all are checked before any is changed
  for (const io::NamedTensor& entry : current) {
    stored.push_back(stored_state(file, entry));
  }
  for (size_t i = 0; i < current.size(); ++i) {
    current[i].tensor.copy_(stored[i]);
  }
}

std::unique_ptr<Optimizer> make_optimizer(const OptimizerOptions& options, std::vector<nn::Parameter> parameters, double learning_rate) {
  require_valid_options(options, learning_rate);
  require_parameters(parameters);
  const StatePlace place = state_place(options, parameters);
  const auto counted = std::make_shared<CountedState>();
  if (place == StatePlace::kFile) {
    count_state(counted, options, parameters);  // the file is created in its full size
  }
  return make_in(make_state_memory(place, options, *counted), place, options, parameters, learning_rate);
}

StateSize state_size(const OptimizerOptions& options, const std::vector<nn::Parameter>& parameters) {
  require_parameters(parameters);
  const StatePlace place = state_place(options, parameters);
  const auto counted = std::make_shared<CountedState>();
  const int64_t bytes = count_state(counted, options, parameters);
  const int64_t update = update_bytes(options, parameters);
  switch (place) {
    case StatePlace::kFile:
      return {bytes - counted->moment_bytes(), state_file_size(*counted), 0, update};
    case StatePlace::kPaged:
      return {bytes - counted->paged_bytes(), 0, counted->paged_bytes(), update};
    case StatePlace::kMemory:
      break;
  }
  return {bytes, 0, 0, update};
}

}  // namespace lora::optim

#include "peft/base_values.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/io/tensor_facts.h"
#include "peft/report.h"

namespace lora::peft {

namespace {

/// Puts the head's tensors first: of a shared weight PEFT uses the value that it reads last, which is the head's, and here the first
/// counts.
std::vector<AdapterTensor> head_first(std::vector<AdapterTensor> tensors, nn::Model& model) {
  const nn::Linear* const head = model.head();
  std::stable_partition(tensors.begin(), tensors.end(),
                        [head](const AdapterTensor& tensor) { return head != nullptr && tensor.module == head->name(); });
  return tensors;
}

}  // namespace

nn::BaseWeight* BaseValues::find(const std::string& name) const {
  for (nn::Host* host : model_->hosts()) {
    for (nn::BaseWeight& weight : host->weights()) {
      if (weight.parameter().name == name) {
        return &weight;
      }
    }
  }
  return nullptr;
}

void BaseValues::put(const std::vector<AdapterTensor>& tensors, const std::string& where) {
  std::vector<std::string> unknown, misshapen, changed;
  for (const AdapterTensor& tensor : tensors) {
    const nn::BaseWeight* const weight = find(tensor.name);
    if (weight == nullptr) {
      unknown.push_back(tensor.name);
    } else if (tensor.tensor.sizes() != weight->shape()) {
      misshapen.push_back(tensor.name + " " + io::shape_text(tensor.tensor.sizes()) + " instead of " + io::shape_text(weight->shape()));
    }
  }
  if (!unknown.empty()) {
    model_error(where, "has " + counted(static_cast<int64_t>(unknown.size()), "tensor") +
                           " outside of this model and its target_modules: " + join(unknown, ", ", kNamesShown));
  }
  if (!misshapen.empty()) {
    model_error(where, "has base weights of another shape: " + join(misshapen, ", ", kNamesShown) +
                           ". Likely cause: the vocabulary was resized before training. Give the resized model as the base.");
  }
  std::vector<const nn::BaseWeight*> done;
  for (const AdapterTensor& tensor : head_first(tensors, *model_)) {
    const nn::BaseWeight& weight = *find(tensor.name);
    if (std::any_of(done.begin(), done.end(), [&weight](const nn::BaseWeight* other) { return weight.shares_values_with(*other); })) {
      continue;
    }
    done.push_back(&weight);
    if (put(tensor, weight)) {
      changed.push_back(tensor.name);
    }
  }
  if (!changed.empty()) {
    log::warn("[" + where + "] has its own values of " + join(changed, ", ", kNamesShown) +
              ", which differ from the base's: using them, as PEFT does");
  }
}

/// Returns whether the tensor differs from the base's.
bool BaseValues::put(const AdapterTensor& tensor, const nn::BaseWeight& base) {
  const at::NoGradGuard no_grad;
  const Tensor value = tensor.tensor.to(at::TensorOptions(base.dtype()).device(base.device()));
  const auto known = std::find_if(values_.begin(), values_.end(), [&](const Value& other) {
    return other.module == tensor.module && tensor.name == other.module + "." + other.part;
  });
  if (known != values_.end()) {
    known->tensor.copy_(value);
    return false;
  }
  if (at::equal(value, base.base())) {
    return false;
  }
  bool has_rows = false;
  for (nn::Host* host : model_->hosts()) {
    for (nn::BaseWeight& weight : host->weights()) {
      if (weight.shares_values_with(base)) {
        weight.replace(adapter_name_, value);
        has_rows = has_rows || (host->name() == tensor.module && !host->attached<nn::TokenRows>().empty());
      }
    }
  }
  values_.push_back({tensor.module, tensor.name.substr(tensor.module.size() + 1), value, has_rows});
  return true;
}

std::vector<AdapterUpdate> BaseValues::updates(const std::set<std::string>& adapted) const {
  std::vector<AdapterUpdate> updates;
  for (const Value& value : values_) {
    const std::string wrapper = adapted.count(value.module) > 0 ? ".base_layer" : value.has_rows ? ".token_adapter.base_layer" : "";
    updates.push_back(HeldTensor{{value.module + "." + value.part, value.tensor}, {}, /*of_base=*/true, wrapper});
  }
  return updates;
}

}  // namespace lora::peft

#include "lora/nn/activation.h"

#include "lora/base/enum_table.h"
#include "lora/base/error.h"
#include "lora/base/text.h"

namespace lora::nn {

namespace {

using ops::Activation;

/// transformers' names.
constexpr EnumTable<Activation, 7> kActivations{{{{Activation::kSilu, "silu"},
                                                  {Activation::kSilu, "swish"},
                                                  {Activation::kGelu, "gelu"},
                                                  {Activation::kGeluTanh, "gelu_new"},
                                                  {Activation::kGeluTanh, "gelu_pytorch_tanh"},
                                                  {Activation::kRelu, "relu"},
                                                  {Activation::kReluSquared, "relu2"}}}};

}  // namespace

ops::Activation find_activation(const std::string& name, const std::string& where) {
  const std::optional<Activation> found = kActivations.find(name);
  if (!found) {
    model_error(where, "unknown activation: found '" + name + "', expected one of " + join(kActivations.names()));
  }
  return *found;
}

}  // namespace lora::nn

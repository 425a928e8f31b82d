#include "lora/nn/activation.h"

#include <ATen/ATen.h>

#include <array>
#include <utility>
#include <vector>

#include "lora/base/error.h"
#include "lora/base/text.h"

namespace lora::nn {

namespace {

/// transformers' names; gelu_new and gelu_pytorch_tanh are the tanh form of Hendrycks & Gimpel 2016.
const std::array<std::pair<const char*, Activation>, 6> kActivations{{
    {"silu", [](const at::Tensor& x) { return at::silu(x); }},
    {"swish", [](const at::Tensor& x) { return at::silu(x); }},
    {"gelu", [](const at::Tensor& x) { return at::gelu(x); }},
    {"gelu_new", [](const at::Tensor& x) { return at::gelu(x, "tanh"); }},
    {"gelu_pytorch_tanh", [](const at::Tensor& x) { return at::gelu(x, "tanh"); }},
    {"relu", [](const at::Tensor& x) { return at::relu(x); }},
}};

}  // namespace

Activation find_activation(const std::string& name, const std::string& where) {
  std::vector<std::string> known;
  for (const auto& [known_name, activation] : kActivations) {
    if (name == known_name) {
      return activation;
    }
    known.emplace_back(known_name);
  }
  model_error(where, "unknown activation: found '" + name + "', expected one of " + join(known));
}

}  // namespace lora::nn

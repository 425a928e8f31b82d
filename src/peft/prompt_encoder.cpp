#include "peft/prompt_encoder.h"

#include <ATen/ATen.h>

#include <cmath>

#include "peft/generators.h"

namespace lora::peft {

namespace {

class TrainedRows : public PromptEncoder {
 public:
  TrainedRows(const Tensor& start_NW, at::Device device) { add(kPromptRows, start_NW, device); }

  Tensor channels(int64_t begin, int64_t end) const override { return tensor(0).slice(1, begin, end); }
  int64_t width() const override { return tensor(0).size(1); }
};

class PrefixNetwork : public PromptEncoder {
 public:
  PrefixNetwork(const PrefixNetworkSizes& sizes, bool ends_at_zero, uint64_t seed, at::Device device) {
    add(kPromptRows, random_rows(sizes.num_tokens, sizes.token_dim, seed), device);
    add_linear("transform.0", sizes.token_dim, sizes.hidden_size, seed, device);
    add_linear("transform.2", sizes.hidden_size, sizes.width, seed, device, ends_at_zero);
  }

  /// The first layer is computed for each range of channels: it is small, and the last one is computed for these channels alone.
  Tensor channels(int64_t begin, int64_t end) const override {
    const Tensor hidden_NH = at::linear(tensor(0), tensor(1), tensor(2)).tanh();
    return at::linear(hidden_NH, tensor(3).slice(0, begin, end), tensor(4).slice(0, begin, end));
  }
  int64_t width() const override { return tensor(3).size(0); }
};

}  // namespace

std::vector<Tensor> PromptEncoder::tensors() const {
  std::vector<Tensor> all;
  for (const nn::Parameter& parameter : parameters_) {
    all.push_back(parameter.tensor);
  }
  return all;
}

void PromptEncoder::add(const std::string& name, const Tensor& start, at::Device device, bool weight_decay) {
  parameters_.push_back({name, start.to(device).requires_grad_(true), weight_decay});
}

void PromptEncoder::add_linear(const std::string& name, int64_t in, int64_t out, uint64_t seed, at::Device device, bool is_zero) {
  const double bound = is_zero ? 0.0 : 1.0 / std::sqrt(static_cast<double>(in));
  const std::string whole = "prompt_encoder." + name;
  const auto start = [&](const std::string& part, at::IntArrayRef shape) {
    return is_zero ? at::zeros(shape, at::kFloat) : at::empty(shape, at::kFloat).uniform_(-bound, bound, generator_of(seed, whole + part));
  };
  add(whole + ".weight", start(".weight", {out, in}), device);
  add(whole + ".bias", start(".bias", {out}), device, /*weight_decay=*/false);
}

Tensor random_rows(int64_t num_tokens, int64_t width, uint64_t seed) {
  return at::empty({num_tokens, width}, at::kFloat).normal_(0.0, 1.0, generator_of(seed, kPromptRows));
}

std::unique_ptr<PromptEncoder> trained_rows(const Tensor& start_NW, at::Device device) {
  return std::make_unique<TrainedRows>(start_NW, device);
}

std::unique_ptr<PromptEncoder> prefix_network(const PrefixNetworkSizes& sizes, bool ends_at_zero, uint64_t seed, at::Device device) {
  return std::make_unique<PrefixNetwork>(sizes, ends_at_zero, seed, device);
}

}  // namespace lora::peft

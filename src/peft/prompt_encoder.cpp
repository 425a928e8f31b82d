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
    const Tensor hidden_NH = linear(tensor(0), 1).tanh();
    return at::linear(hidden_NH, tensor(3).slice(0, begin, end), tensor(4).slice(0, begin, end));
  }
  int64_t width() const override { return tensor(3).size(0); }
};

class PromptMlp : public PromptEncoder {
 public:
  PromptMlp(const Tensor& start_NW, int64_t hidden_size, uint64_t seed, at::Device device) {
    add(kPromptRows, start_NW, device);
    add_linear("mlp_head.0", start_NW.size(1), hidden_size, seed, device);
    add_linear("mlp_head.2", hidden_size, hidden_size, seed, device);
    add_linear("mlp_head.4", hidden_size, start_NW.size(1), seed, device);
  }

  Tensor channels(int64_t begin, int64_t end) const override {
    return linear(linear(linear(tensor(0), 1).relu(), 3).relu(), 5).slice(1, begin, end);
  }
  int64_t width() const override { return tensor(0).size(1); }
};

class PromptLstm : public PromptEncoder {
 public:
  PromptLstm(const Tensor& start_NW, int64_t hidden_size, int64_t num_layers, uint64_t seed, at::Device device)
      : hidden_size_(hidden_size), num_layers_(num_layers) {
    add(kPromptRows, start_NW, device);
    for (int64_t layer = 0; layer < num_layers; ++layer) {
      for (const char* direction : {"", "_reverse"}) {
        add_direction("_l" + std::to_string(layer) + direction, layer == 0 ? start_NW.size(1) : 2 * hidden_size, seed, device);
      }
    }
    add_linear("mlp_head.0", 2 * hidden_size, 2 * hidden_size, seed, device);
    add_linear("mlp_head.2", 2 * hidden_size, start_NW.size(1), seed, device);
  }

  Tensor channels(int64_t begin, int64_t end) const override {
    const std::vector<Tensor> all = tensors();
    const size_t head = all.size() - 4;
    const Tensor zero = at::zeros({2 * num_layers_, 1, hidden_size_}, all.front().options());
    const std::vector<Tensor> weights(all.begin() + 1, all.begin() + static_cast<int64_t>(head));
    const Tensor y_NH = std::get<0>(at::lstm(all.front().unsqueeze(0), {zero, zero}, weights, /*has_biases=*/true, num_layers_,
                                             /*dropout=*/0.0, /*train=*/false, /*bidirectional=*/true, /*batch_first=*/true))
                            .squeeze(0);
    return linear(linear(y_NH, head).relu(), head + 2).slice(1, begin, end);
  }
  int64_t width() const override { return tensor(0).size(1); }

 private:
  /// One direction of one layer, as nn.LSTM starts: U(-1/sqrt(hidden), 1/sqrt(hidden)); four gates.
  void add_direction(const std::string& end, int64_t in, uint64_t seed, at::Device device) {
    const double bound = 1.0 / std::sqrt(static_cast<double>(hidden_size_));
    const auto add_part = [&](const std::string& part, at::IntArrayRef shape) {
      const std::string name = "prompt_encoder.lstm_head." + part + end;
      add(name, at::empty(shape, at::kFloat).uniform_(-bound, bound, generator_of(seed, name)), device, shape.size() > 1);
    };
    add_part("weight_ih", {4 * hidden_size_, in});
    add_part("weight_hh", {4 * hidden_size_, hidden_size_});
    add_part("bias_ih", {4 * hidden_size_});
    add_part("bias_hh", {4 * hidden_size_});
  }

  int64_t hidden_size_, num_layers_;
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

Tensor PromptEncoder::linear(const Tensor& x, size_t weight) const {
  return at::linear(x, tensor(weight), tensor(weight + 1));
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

std::unique_ptr<PromptEncoder> prompt_mlp(const Tensor& start_NW, int64_t hidden_size, uint64_t seed, at::Device device) {
  return std::make_unique<PromptMlp>(start_NW, hidden_size, seed, device);
}

std::unique_ptr<PromptEncoder> prompt_lstm(const Tensor& start_NW, int64_t hidden_size, int64_t num_layers, uint64_t seed,
                                           at::Device device) {
  return std::make_unique<PromptLstm>(start_NW, hidden_size, num_layers, seed, device);
}

}  // namespace lora::peft

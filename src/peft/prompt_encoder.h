#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lora/nn/parameter.h"

// What the methods that learn virtual tokens train. N tokens of W channels; the parameters are float32, with PEFT's names.
namespace lora::peft {

using at::Tensor;

/// A row for each of N virtual tokens, or rows from which a small network computes them.
class PromptEncoder {
 public:
  virtual ~PromptEncoder() = default;

  /// Channels begin … end - 1 of the virtual tokens: [N, end - begin]. Differentiable, from the parameters at each call, so that a layer
  /// can be computed again in backward.
  virtual Tensor channels(int64_t begin, int64_t end) const = 0;
  int64_t num_tokens() const { return parameters_.front().tensor.size(0); }
  virtual int64_t width() const = 0;
  /// Whether a network computes the tokens: then what a file of PEFT holds is not what is trained.
  bool has_network() const { return parameters_.size() > 1; }
  /// The rows first.
  const std::vector<nn::Parameter>& parameters() const { return parameters_; }
  std::vector<Tensor> tensors() const;

 protected:
  /// Adds a tensor of prompt_encoder. @param start on the CPU
  void add(const std::string& name, const Tensor& start, at::Device device, bool weight_decay = true);
  /// Adds `name`.weight [out, in] and `name`.bias, both as nn.Linear starts: U(-1/sqrt(in), 1/sqrt(in)), or zero.
  void add_linear(const std::string& name, int64_t in, int64_t out, uint64_t seed, at::Device device, bool is_zero = false);
  const Tensor& tensor(size_t index) const { return parameters_[index].tensor; }
  /// The linear layer whose weight is the parameter with this index.
  Tensor linear(const Tensor& x, size_t weight) const;

 private:
  std::vector<nn::Parameter> parameters_;
};

/// The name of the rows, with which their random numbers are seeded.
inline constexpr const char* kPromptRows = "prompt_encoder.embedding.weight";

/// Standard normal numbers, as nn.Embedding starts: [N, W].
Tensor random_rows(int64_t num_tokens, int64_t width, uint64_t seed);

/// The rows themselves are the virtual tokens. @param start_NW on the CPU
std::unique_ptr<PromptEncoder> trained_rows(const Tensor& start_NW, at::Device device);

struct PrefixNetworkSizes {
  int64_t num_tokens, token_dim, hidden_size, width;
};

/// Linear, tanh, linear (PEFT's PrefixEncoder with prefix_projection). @param ends_at_zero the last layer starts at zero
std::unique_ptr<PromptEncoder> prefix_network(const PrefixNetworkSizes& sizes, bool ends_at_zero, uint64_t seed, at::Device device);

/// Three linear layers with ReLU between (PEFT's PromptEncoder, "MLP"). The rows are as wide as the virtual tokens.
std::unique_ptr<PromptEncoder> prompt_mlp(const Tensor& start_NW, int64_t hidden_size, uint64_t seed, at::Device device);

/// An LSTM in both directions over the virtual tokens, and two linear layers with ReLU between (PEFT's PromptEncoder, "LSTM").
std::unique_ptr<PromptEncoder> prompt_lstm(const Tensor& start_NW, int64_t hidden_size, int64_t num_layers, uint64_t seed,
                                           at::Device device);

}  // namespace lora::peft

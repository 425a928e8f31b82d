#pragma once
#include <memory>
#include <string>
#include <vector>

#include "torchscript/network_model.h"

namespace lora::torchscript {

/// A TorchScript network as a language model that only returns logits. Only this class creates the rectangle that it needs.
class ScriptModel : public NetworkModel {
 public:
  /// @param output the value of model.output.
  ScriptModel(std::unique_ptr<Network> network, const std::vector<std::string>& inputs, std::string output);

  /// The logits [T, V].
  at::Tensor hidden(const nn::Pass& pass) const override;
  /// The projection to the vocabulary; null: it was not found.
  nn::Linear* head() { return network().hosts().head; }
  int64_t vocab_size() const override { return vocab_size_; }
  /// Of logits.
  int64_t hidden_size() const override { return vocab_size_; }
  nn::PassMemory pass_memory(nn::Recompute recompute) const override;

  /// A document length that fits the tables which are not looked up by ids (positions).
  int64_t safe_length() const;
  /// The logits [D, L, V] in a result of the network. Throws model Error for another shape.
  at::Tensor logits_of(const c10::IValue& result, const Rectangle& rectangle) const;

 private:
  at::Tensor rectangle_logits(const nn::Pass& pass) const;

  int64_t vocab_size_ = 0;
};

}  // namespace lora::torchscript

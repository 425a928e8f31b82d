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

  at::Tensor hidden(const nn::Pass& pass) const override;
  nn::Linear* find_head() override { return network().hosts().head; }
  bool gives_logits() const override { return true; }
  int64_t vocab_size() const override { return vocab_size_; }
  /// The size of what hidden() returns: logits.
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

#pragma once
#include <memory>
#include <string>
#include <vector>

#include "fields.h"
#include "lora/nn/model.h"
#include "network.h"

namespace lora::torchscript {

/// A TorchScript network as a language model that can only give logits. The rectangle that it needs is made here and nowhere
/// else.
class ScriptModel : public nn::Model {
 public:
  /// @param output as model.output has it.
  ScriptModel(std::unique_ptr<Network> network, const std::vector<std::string>& inputs, std::string output);

  at::Tensor hidden(const nn::Pass& pass) const override;
  nn::Linear* find_head() override { return network_->hosts().head; }
  bool gives_logits() const override { return true; }
  bool uses_cache() const override { return false; }
  std::vector<nn::Host*> hosts() override;
  std::vector<nn::Parameter> base_parameters() const override;
  std::vector<std::string> default_target_modules() const override { return {}; }
  int64_t vocab_size() const override { return vocab_size_; }
  /// Of what hidden() gives: logits.
  int64_t hidden_size() const override { return vocab_size_; }
  at::ScalarType dtype() const override { return network_->dtype(); }
  at::Device device() const override { return network_->device(); }
  nn::PassMemory pass_memory(nn::Recompute recompute) const override;

  Network& network() { return *network_; }
  /// A length that documents may have by the tables that are not looked up by ids (positions).
  int64_t safe_length() const;
  /// Hosts that a small batch says nothing of: neither their weight nor an adapter on it changes its logits. The first pass that
  /// trains one says so.
  void set_idle(std::vector<const nn::MatrixHost*> hosts) { idle_ = std::move(hosts); }
  const Fields& fields() const { return fields_; }
  const std::string& output() const { return output_; }
  /// Says that a document's logits depend on the padding behind it: from now on only documents of one length share a rectangle.
  void keep_lengths_apart() { keeps_lengths_apart_ = true; }
  /// Logits [D, L, V] of a result of the network. Throws model Error for another shape.
  at::Tensor logits_of(const c10::IValue& result, const Rectangle& rectangle) const;

 private:
  at::Tensor rectangle_logits(const nn::Pass& pass) const;
  /// Whether the table is looked up by ids.
  bool is_of_ids(const Lookup& lookup) const { return fields_.names()[lookup.argument] == "input_ids"; }
  int64_t find_vocabulary() const;
  void warn_of_idle_hosts() const;

  std::unique_ptr<Network> network_;
  Fields fields_;
  std::string output_;
  int64_t vocab_size_ = 0;
  bool keeps_lengths_apart_ = false;
  mutable std::vector<const nn::MatrixHost*> idle_;  ///< not yet said
};

}  // namespace lora::torchscript

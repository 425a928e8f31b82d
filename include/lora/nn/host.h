#pragma once
#include <ATen/core/Tensor.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "lora/nn/attachment.h"
#include "lora/nn/base_weight.h"
#include "lora/nn/parameter.h"

namespace lora::nn {

/// A module that adapters can be attached to. It owns its base weights and everything that is attached. Its name is the module's
/// name in transformers, so that PEFT's target_modules mean the same here. The set of kinds is open.
class Host {
 public:
  explicit Host(std::string name) : name_(std::move(name)) {}
  virtual ~Host() = default;
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  const std::string& name() const { return name_; }
  /// Its class in PEFT's terms, for messages: "Linear", …
  virtual const char* kind() const = 0;
  /// Whether low-rank pairs can be attached to it.
  virtual bool takes_low_rank() const { return false; }
  /// Whether PEFT's all-linear includes it, although no low-rank pair can be attached.
  virtual bool counts_as_linear() const { return false; }
  /// Whether it can be in modules_to_save: its weights are the ones that PEFT would save.
  virtual bool can_be_saved() const { return true; }
  /// Whether the sizes of its tensors depend on values that a pass computes. Such a pass waits for the device and cannot be recorded.
  virtual bool has_data_dependent_sizes() const { return false; }
  /// Its weights, including a tied head's, which belongs to the embedding.
  const std::deque<BaseWeight>& weights() const { return weights_; }
  std::deque<BaseWeight>& weights() { return weights_; }
  /// Its own weights that are tensors, under their names in the checkpoint; the tensors are the module's, not copies.
  std::vector<Parameter> base_parameters() const;

  /// Attaches a copy of this attachment, which is in use until use_adapter(). Throws config Error for one that this host does not
  /// support.
  template <typename Kind>
  void attach(Kind attachment) {
    add(std::make_unique<Kind>(std::move(attachment)));
  }
  /// Everything that is attached, in order.
  const std::vector<std::unique_ptr<Attachment>>& attachments() const { return attachments_; }
  /// The attachments of one kind, in order. Each call searches the list.
  template <typename Kind>
  std::vector<Kind*> attached() const {
    std::vector<Kind*> found;
    for (const std::unique_ptr<Attachment>& attachment : attachments_) {
      if (auto* of_kind = dynamic_cast<Kind*>(attachment.get())) {
        found.push_back(of_kind);
      }
    }
    return found;
  }

  /// The tensors in use that are trained.
  std::vector<Tensor> trained() const;
  bool is_trained() const { return !trained().empty(); }
  /// Whether only the weights, or what replaces them, are in use.
  bool is_plain() const;

  /// Makes this adapter's attachments the only ones in use; "": none.
  void use_adapter(const std::string& adapter);
  /// The adapter in use here; "": none, or it attaches nothing to this host.
  std::string adapter_in_use() const;
  /// Removes everything that is attached.
  void remove_adapters();

 protected:
  /// Adds the weight `name`.`part`. The reference stays valid.
  BaseWeight& add_weight(const std::string& part, Tensor tensor, bool weight_decay);
  /// The same for a projection's matrix. @param owned false if it belongs to another module.
  BaseWeight& add_weight(const std::string& part, std::shared_ptr<const ops::LinearWeight> matrix, bool owned);
  virtual void add(std::unique_ptr<Attachment> attachment) { attachments_.push_back(std::move(attachment)); }

 private:
  std::string name_;
  std::deque<BaseWeight> weights_;
  std::vector<std::unique_ptr<Attachment>> attachments_;
};

/// The base's own weights of all these hosts, in order (Host::base_parameters).
std::vector<Parameter> base_parameters_of(const std::vector<Host*>& hosts);

}  // namespace lora::nn

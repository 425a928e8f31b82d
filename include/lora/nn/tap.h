#pragma once
#include <memory>
#include <string>
#include <vector>

#include "lora/nn/host.h"
#include "lora/nn/pass.h"
#include "lora/nn/pass_memory.h"

namespace lora::nn {

/// A module that a method attaches to a tap, such as a bottleneck (Houlsby et al. 2019).
class TapModule {
 public:
  virtual ~TapModule() = default;

  /// What takes the place of a block's output: x_TD → x_TD.
  virtual Tensor forward(const Tensor& x_TD, const Pass& pass) const = 0;
  /// Its trained tensors.
  virtual std::vector<Parameter> parameters() const = 0;
  /// What it keeps per token from the forward pass to backward.
  virtual Kept kept() const = 0;
};

/// A place in a layer where a method can attach a module of its own. Without one it passes its input on and costs nothing. A tap has
/// no weights and is not among a model's hosts: target_modules does not match it. Its name is that of the module which the adapters
/// library (adapterhub.ml) puts in this place.
class Tap : public Host {
 public:
  using Host::Host;

  const char* kind() const override { return "Tap"; }
  bool can_be_saved() const override { return false; }

  /// Attaches the module of an adapter, which use_adapter then selects.
  void attach(const std::string& adapter, std::unique_ptr<TapModule> module);

  /// x_TD, through the module of the adapter in use.
  Tensor forward(const Tensor& x_TD, const Pass& pass) const { return in_use_ == nullptr ? x_TD : in_use_->forward(x_TD, pass); }
  bool is_trained() const override;
  Kept kept() const { return in_use_ == nullptr ? Kept{} : in_use_->kept(); }

  void use_adapter(const std::string& adapter) override;
  void remove_adapters() override;

 private:
  struct Attached {
    std::string adapter;
    std::unique_ptr<TapModule> module;
  };

  std::vector<Attached> attached_;
  const TapModule* in_use_ = nullptr;
};

}  // namespace lora::nn

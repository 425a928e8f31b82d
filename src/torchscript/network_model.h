#pragma once
#include <memory>
#include <string>
#include <vector>

#include "fields.h"
#include "lora/nn/model.h"
#include "network.h"

namespace lora::torchscript {

/// What every use of a TorchScript network as a model shares: its modules as hosts, its weights, the fields of its arguments.
class NetworkModel : public nn::Model {
 public:
  /// @param output what of its result counts: a key, or the index of an element.
  NetworkModel(std::unique_ptr<Network> network, const std::vector<std::string>& inputs, RowKind rows, std::string output)
      : network_(std::move(network)), fields_(*network_, inputs, rows), output_(std::move(output)) {}

  bool uses_cache() const override { return false; }
  std::vector<nn::Host*> hosts() override;
  std::vector<nn::Parameter> base_parameters() const override;
  std::vector<std::string> default_target_modules() const override { return {}; }
  at::ScalarType dtype() const override { return network_->dtype(); }
  at::Device device() const override { return network_->device(); }

  Network& network() { return *network_; }
  const Network& network() const { return *network_; }
  const Fields& fields() const { return fields_; }
  const std::string& output() const { return output_; }

 protected:
  /// The network's result for a batch, as one rectangle.
  c10::IValue run(const nn::Pass& pass, const Rectangle& rectangle) const;
  /// Sets the generator that the network's own dropout draws from; to be called once a training pass.
  void seed_base_dropout(const nn::Pass& pass) const;
  /// Bytes of the inputs and outputs of every linear operation for one place, and again as much between them: what a pass keeps is
  /// not known better.
  int64_t linear_bytes() const;

 private:
  std::unique_ptr<Network> network_;
  Fields fields_;
  std::string output_;
};

}  // namespace lora::torchscript

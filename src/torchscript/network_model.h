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
  /// Hosts that a small batch says nothing of: neither their weight nor an adapter on it changes its result. The first pass that
  /// trains one says so.
  void set_idle(std::vector<const nn::MatrixHost*> hosts) { idle_ = std::move(hosts); }
  /// Says that what it gives of a document depends on the padding behind it: from now on only documents of one length share a
  /// rectangle.
  void keep_lengths_apart() { keeps_lengths_apart_ = true; }
  /// Rows of the smallest table of ids; 0: there is none.
  int64_t num_ids() const;
  bool is_half() const { return dtype() != at::kFloat && dtype() != at::kDouble; }
  /// Notes what calls of hosts and dropouts are given in training passes, from now on; null: no longer.
  void watch_calls(CallSizes* sizes) { call_sizes_ = sizes; }
  /// How far apart, as a share of the largest, two ways may be that compute the same in another order.
  double rounding() const { return is_half() ? 0.05 : 1e-4; }

 protected:
  bool keeps_lengths_apart() const { return keeps_lengths_apart_; }
  /// The network's result for a batch, as one rectangle.
  c10::IValue run(const nn::Pass& pass, const Rectangle& rectangle) const;
  /// To be called before a pass runs the network. What is random in it but for aten::dropout has no key of ours: its generator is set
  /// by the pass's keys, so that a step is the same step again.
  void begin(const nn::Pass& pass) const;
  /// Whether the table is looked up by ids.
  bool is_of_ids(const Lookup& lookup) const { return fields_.names()[lookup.argument] == "input_ids"; }

 private:
  void warn_of_idle_hosts() const;

  std::unique_ptr<Network> network_;
  Fields fields_;
  std::string output_;
  bool keeps_lengths_apart_ = false;
  CallSizes* call_sizes_ = nullptr;
  mutable std::vector<const nn::MatrixHost*> idle_;  ///< not yet said
};

}  // namespace lora::torchscript

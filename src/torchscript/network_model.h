#pragma once
#include <memory>
#include <string>
#include <vector>

#include "lora/nn/body.h"
#include "torchscript/fields.h"
#include "torchscript/network.h"

namespace lora::torchscript {

/// The common base of TorchScript networks: modules as hosts, weights, and the fields of the arguments.
class NetworkModel : public nn::Body {
 public:
  /// @param output the part of the result that counts: a key, or the index of an element.
  NetworkModel(std::unique_ptr<Network> network, const std::vector<std::string>& inputs, RowKind rows, std::string output)
      : network_(std::move(network)), fields_(*network_, inputs, rows), output_(std::move(output)) {}

  /// Never: every pass gets whole documents.
  bool keeps_keys(int64_t, int64_t) const override { return false; }
  bool runs_concurrently() const override { return false; }
  std::vector<nn::Host*> hosts() override;
  std::vector<nn::Parameter> base_parameters() const override;
  std::vector<std::string> default_target_modules() const override { return {}; }
  at::ScalarType dtype() const override { return network_->dtype(); }
  at::Device device() const override { return network_->device(); }

  Network& network() { return *network_; }
  const Network& network() const { return *network_; }
  const Fields& fields() const { return fields_; }
  const std::string& output() const { return output_; }
  /// Sets the hosts that could not be checked, because neither their weight nor an adapter on it changes the result for a small batch. The
  /// first pass that trains one of them warns.
  void set_idle(std::vector<const nn::MatrixHost*> hosts) { idle_ = std::move(hosts); }
  /// Notes that a document's result depends on the padding after it: from now on only documents of the same length share a rectangle.
  void keep_lengths_apart() { keeps_lengths_apart_ = true; }
  /// The rows of the smallest table of ids; 0 without one.
  int64_t num_ids() const;
  bool is_half() const { return dtype() != at::kFloat && dtype() != at::kDouble; }
  /// Records the sizes of the inputs of hosts and dropouts in training passes from now on; null: stops recording.
  void watch_calls(CallSizes* sizes) { call_sizes_ = sizes; }
  /// The relative difference that is allowed between two computations of the same result in another order.
  double rounding() const { return is_half() ? 0.05 : 1e-4; }

 protected:
  bool keeps_lengths_apart() const { return keeps_lengths_apart_; }
  /// The network's result for a batch, as one rectangle.
  c10::IValue run(const nn::Pass& pass, const Rectangle& rectangle) const;
  /// To be called before a pass runs the network. Random operations other than aten::dropout do not use row keys: their generator is seeded
  /// by the pass's keys, so that a repeated step gives the same result.
  void begin(const nn::Pass& pass) const;
  /// Whether the table is looked up by token ids.
  bool is_of_ids(const Lookup& lookup) const { return fields_.names()[lookup.argument] == "input_ids"; }

 private:
  void warn_of_idle_hosts() const;

  std::unique_ptr<Network> network_;
  Fields fields_;
  std::string output_;
  bool keeps_lengths_apart_ = false;
  CallSizes* call_sizes_ = nullptr;
  mutable std::vector<const nn::MatrixHost*> idle_;  ///< those not yet warned of
};

}  // namespace lora::torchscript

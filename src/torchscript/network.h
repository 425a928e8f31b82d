#pragma once
#include <ATen/core/ivalue.h>

#include <memory>
#include <string>
#include <vector>

#include "lora/nn/pass.h"
#include "torchscript/hosts.h"
#include "torchscript/row_keys.h"

namespace torch::jit {
struct GraphExecutor;
}

namespace lora::torchscript {

/// An argument of the module's forward.
struct Argument {
  std::string name;
  std::optional<c10::IValue> fallback;  ///< its default value
};

/// The rows of a pass; see CallContext.
struct PassRows {
  at::Tensor keys;  ///< undefined in evaluation
  int64_t num_samples = 0;
  at::Tensor places;
  int64_t length = 0;               ///< rows per sample
  CallSizes* call_sizes = nullptr;  ///< gets the sizes of the calls in the pass; null: not recorded
};

/// A loaded module as a pure function whose linear operations and tables are hosts of adapters. It runs in training mode in training passes
/// and in evaluation mode in others.
class Network {
 public:
  /// @param frozen_form evaluation mode in training passes too, without the base model's own dropout.
  /// @param output which part of the result is the logits (take_output); determines the head.
  /// Throws what lower() throws, and model Error for a module without hosts.
  Network(torch::jit::Module module, std::string where, at::Device device, bool frozen_form, const std::string& output);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  const std::vector<Argument>& arguments() const { return arguments_; }
  const Hosts& hosts() const { return hosts_; }
  Hosts& hosts() { return hosts_; }
  const std::string& where() const { return where_; }
  torch::jit::Module& module();
  at::Device device() const { return device_; }
  /// The dtype of its weights: that of its first host.
  at::ScalarType dtype() const;

  /// Runs forward(arguments) with the adapters on the hosts. Throws model Error with the interpreter's reason.
  c10::IValue run(const std::vector<c10::IValue>& arguments, const nn::Pass& pass, const PassRows& rows) const;
  /// Runs the module itself in evaluation mode, without hosts.
  c10::IValue run_module(const std::vector<c10::IValue>& arguments);
  /// Runs the plain graph with each host's effective weight.
  c10::IValue run_in_weight_space(const std::vector<c10::IValue>& arguments) const;

 private:
  struct Form;
  struct Impl;
  c10::IValue execute(const Form& form, std::vector<c10::IValue> stack) const;
  at::Tensor tensor_of(const Slot& slot) const;
  [[noreturn]] void fail(const std::string& reason, const std::vector<c10::IValue>& stack) const;

  std::string where_;
  at::Device device_;
  bool frozen_form_;
  std::vector<Argument> arguments_;
  Hosts hosts_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lora::torchscript

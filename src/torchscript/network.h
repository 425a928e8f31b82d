#pragma once
#include <ATen/core/ivalue.h>

#include <memory>
#include <string>
#include <vector>

#include "hosts.h"
#include "lora/nn/pass.h"
#include "row_keys.h"

namespace torch::jit {
struct GraphExecutor;
}

namespace lora::torchscript {

/// One argument of the module's forward.
struct Argument {
  std::string name;
  std::optional<c10::IValue> fallback;  ///< its default value
};

/// How a pass looks at its rows; see CallContext.
struct Rows {
  at::Tensor keys;  ///< undefined in evaluation
  int64_t num_samples = 0;
  at::Tensor places;
  int64_t length = 0;               ///< rows of a sample
  CallSizes* call_sizes = nullptr;  ///< of the pass, where they are wanted
};

/// A loaded module as a pure function whose linear operations and tables are hosts of adapters. It runs in its training form
/// in training passes and in its evaluation form in others.
class Network {
 public:
  /// @param frozen_form the evaluation form in training too: no dropout of the base's own.
  /// @param output what of the result is the logits (take_output), by which the head is found.
  /// Throws what lower() throws, and model Error for a module without any host.
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

  /// forward(arguments) with what is attached to the hosts. Throws model Error with the interpreter's reason.
  c10::IValue run(const std::vector<c10::IValue>& arguments, const nn::Pass& pass, const Rows& rows) const;
  /// The same by the module itself, in evaluation, without hosts.
  c10::IValue run_module(const std::vector<c10::IValue>& arguments);
  /// The same by the plain graph, whose weights are given: each host's effective weight in weight space.
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

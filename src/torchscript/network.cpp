#include "torchscript/network.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include <algorithm>

#include "lora/base/error.h"
#include "lora/base/text.h"
#include "lora/io/tensor_facts.h"
#include "torchscript/call.h"

namespace lora::torchscript {

namespace {

/// The reason in the interpreter's many lines: the last line that names one.
std::string reason_of(const std::string& text) {
  std::string reason;
  for (const std::string& line : split(text, '\n')) {
    const std::string trimmed = trim(line);
    const size_t mark = trimmed.find("Error: ");
    if (mark != std::string::npos && trimmed.find(' ') > mark) {
      reason = trimmed.substr(mark + 7);
    } else if (reason.empty() && !trimmed.empty() && !trimmed.starts_with("The following operation failed")) {
      reason = trimmed;
    }
  }
  return printable(reason, 300);
}

std::string sizes_text(const std::vector<c10::IValue>& arguments) {
  std::vector<std::string> texts;
  for (const c10::IValue& argument : arguments) {
    if (argument.isTensor() && argument.toTensor().defined()) {
      texts.push_back(io::shape_text(argument.toTensor().sizes()));
    }
  }
  return join(texts);
}

/// Advice for an interpreter's error, if the cause is known. Ends the message.
const char* hint_for(const std::string& reason) {
  const auto has = [&reason](const char* part) { return reason.find(part) != std::string::npos; };
  if (has("must match the") || has("is invalid for input of size") || has("shapes cannot be multiplied") || has("Expected size")) {
    return ". A trace contains the sizes of its example wherever Python computed with them: export it with a batch and a length of at "
           "least 2, a mask and use_cache=False (scripts/export_torchscript.py).";
  }
  if (has("on the same device")) {
    return ". A trace runs on the device on which it was made: export it on the CPU.";
  }
  if (has("dtype") || has("ScalarType") || has("scalar type")) {
    return ". Its code may only work in one dtype: use model.dtype auto.";
  }
  if (has("index out of range")) {
    return ". The batch is longer than the module's position table, or has an id outside its vocabulary.";
  }
  return "";
}

}  // namespace

struct Network::Form {
  std::vector<Slot> slots;  ///< inputs that run() passes after the arguments
  mutable torch::jit::GraphExecutor executor;
};

struct Network::Impl {
  torch::jit::Module module;
  Form training;
  Form evaluation;
  Form plain;  ///< evaluation mode without hosts
};

namespace {

torch::jit::GraphExecutor executor_of(const Lowered& lowered) {
  return {lowered.graph, "forward", torch::jit::ExecutorExecutionMode::SIMPLE};
}

}  // namespace

Network::Network(torch::jit::Module module, std::string where, at::Device device, bool frozen_form, const std::string& output)
    : where_(std::move(where)), device_(device), frozen_form_(frozen_form), impl_(std::make_unique<Impl>()) {
  impl_->module = std::move(module);
  if (!impl_->module.find_method("forward")) {
    model_error(where_, "has no forward method, so that it cannot be called");
  }
  const c10::FunctionSchema& schema = impl_->module.get_method("forward").function().getSchema();
  for (size_t i = 1; i < schema.arguments().size(); ++i) {
    arguments_.push_back({schema.arguments()[i].name(), schema.arguments()[i].default_value()});
  }
  Lowered training = lower(impl_->module, where_, /*training=*/!frozen_form_);
  Lowered plain = lower(impl_->module, where_, /*training=*/false);
  hosts_ = make_hosts(plain, impl_->module, output);
  const auto is_adaptable = [](const auto& host) { return host->takes_low_rank(); };
  if (std::none_of(hosts_.all.begin(), hosts_.all.end(), is_adaptable)) {
    model_error(where_,
                "has no weight that an adapter can be attached to: found " + std::to_string(plain.slots.size()) +
                    " tensors that forward reads, none of them a weight of a linear operation or a table. Frozen (torch.jit.freeze) "
                    "and quantised modules have none: export the module before freezing or quantising it.");
  }
  Lowered evaluation = plain;
  evaluation.graph = plain.graph->copy();
  impl_->plain = {plain.slots, executor_of(plain)};
  call_hosts(evaluation, hosts_, /*training=*/false);
  call_hosts(training, hosts_, /*training=*/true);
  impl_->evaluation = {evaluation.slots, executor_of(evaluation)};
  impl_->training = {training.slots, executor_of(training)};
}

Network::~Network() = default;

torch::jit::Module& Network::module() {
  return impl_->module;
}

at::ScalarType Network::dtype() const {
  for (const auto& host : hosts_.all) {
    if (const auto* matrix = dynamic_cast<const nn::MatrixHost*>(host.get())) {
      return matrix->matrix()->dtype();
    }
  }
  return at::kFloat;
}

at::Tensor Network::tensor_of(const Slot& slot) const {
  const auto found = hosts_.plans.find(slot.name);
  const SlotPlan plan = found == hosts_.plans.end() ? SlotPlan() : found->second;
  if (plan.hidden != nullptr) {
    return effective_weight(*plan.hidden);
  }
  return plan.weight != nullptr ? plan.weight->current() : slot.tensor;
}

c10::IValue Network::run(const std::vector<c10::IValue>& arguments, const nn::Pass& pass, const PassRows& rows) const {
  const Form& form = pass.training() ? impl_->training : impl_->evaluation;
  std::vector<c10::IValue> stack = arguments;
  for (const Slot& slot : form.slots) {
    stack.emplace_back(tensor_of(slot));
  }
  const auto context = c10::make_intrusive<CallContext>(hosts_, pass, rows);
  stack.push_back(c10::IValue::make_capsule(context));
  try {
    return execute(form, std::move(stack));
  } catch (...) {
    if (!context->error) {
      throw;
    }
    try {
      std::rethrow_exception(context->error);
    } catch (const c10::OutOfMemoryError&) {
      throw;
    } catch (const c10::Error& error) {
      fail(error.what_without_backtrace(), arguments);
    }
  }
}

c10::IValue Network::run_in_weight_space(const std::vector<c10::IValue>& arguments) const {
  std::vector<c10::IValue> stack = arguments;
  for (const Slot& slot : impl_->plain.slots) {
    const SlotPlan& plan = hosts_.plans.at(slot.name);
    const int64_t host = plan.linear >= 0 ? plan.linear : plan.table >= 0 ? plan.table : plan.convolution;
    if (host >= 0) {
      stack.emplace_back(effective_weight(dynamic_cast<const nn::MatrixHost&>(*hosts_.all[host])));
    } else {
      stack.emplace_back(tensor_of(slot));
    }
  }
  return execute(impl_->plain, std::move(stack));
}

c10::IValue Network::run_module(const std::vector<c10::IValue>& arguments) {
  const at::NoGradGuard no_grad;
  try {
    return impl_->module.get_method("forward")(arguments);
  } catch (const std::exception& error) {
    fail(error.what(), arguments);
  }
}

c10::IValue Network::execute(const Form& form, std::vector<c10::IValue> stack) const {
  const std::vector<c10::IValue> given(stack.begin(), stack.begin() + static_cast<std::ptrdiff_t>(arguments_.size()));
  try {
    form.executor.run(stack);
  } catch (const std::exception& error) {
    fail(error.what(), given);
  }
  return stack.size() == 1 ? stack.front() : c10::IValue(c10::ivalue::Tuple::create(std::move(stack)));
}

void Network::fail(const std::string& text, const std::vector<c10::IValue>& stack) const {
  const std::string reason = reason_of(text);
  // Thrown as torch's own error, so that the trainer retries with half of the batch.
  TORCH_CHECK_WITH(OutOfMemoryError, text.find("out of memory") == std::string::npos, reason);
  model_error(where_, "the module fails on inputs of " + sizes_text(stack) + ": " + reason + hint_for(reason));
}

}  // namespace lora::torchscript

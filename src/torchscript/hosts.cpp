#include "torchscript/hosts.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/ir/ir.h>

#include <algorithm>
#include <set>

#include "lora/base/error.h"
#include "lora/base/text.h"
#include "torchscript/convolution_host.h"

namespace lora::torchscript {

namespace {

/// Provides the slots of one host, whatever names it asks for.
class SlotSource : public io::WeightSource {
 public:
  SlotSource(at::Tensor weight, at::Tensor bias) : weight_(std::move(weight)), bias_(std::move(bias)) {}

  io::StoredWeight weight(const std::string& name, const std::vector<int64_t>&, io::WeightRole role) override {
    return {role == io::WeightRole::kBias ? bias_ : weight_};
  }
  bool contains(const std::string&) const override { return true; }
  std::vector<std::string> unused() const override { return {}; }

 private:
  at::Tensor weight_;
  at::Tensor bias_;
};

std::string module_part(const std::string& slot) {
  const size_t dot = slot.rfind('.');
  return dot == std::string::npos ? "" : slot.substr(0, dot);
}

class Maker {
 public:
  Maker(const Lowered& lowered, const torch::jit::Module& module) : lowered_(lowered), module_(module), uses_(find_uses(lowered)) {
    for (const Slot& slot : lowered_.slots) {
      plan(slot);
    }
  }

  Hosts make(const std::string& output) {
    for (size_t i = 0; i < uses_.size(); ++i) {
      if (is_matrix(i)) {
        make_matrix_hosts(i);
      } else if (is_kernel(i)) {
        make_convolution(i);
      }
    }
    for (size_t i = 0; i < uses_.size(); ++i) {
      if (lowered_.slots[i].is_parameter && taken_.count(i) == 0) {
        make_other(i);
      }
    }
    find_head(output);
    find_lookups();
    return std::move(hosts_);
  }

 private:
  SlotPlan& plan(const Slot& slot) { return hosts_.plans[slot.name]; }

  bool is_matrix(size_t i) const {
    const Slot& slot = lowered_.slots[i];
    return slot.is_parameter && slot.tensor.dim() == 2 && slot.tensor.is_floating_point();
  }

  /// The kernels of convolutions that nothing else uses.
  bool is_kernel(size_t i) const {
    const Slot& slot = lowered_.slots[i];
    const SlotUses& uses = uses_[i];
    return slot.is_parameter && slot.tensor.dim() > 2 && slot.tensor.is_floating_point() && !uses.convolutions.empty() &&
           uses.others.empty() && uses.linear.empty() && uses.conv1d.empty() && uses.tables.empty();
  }

  /// "x.y" of "x.y.weight"; for other slot names the whole name.
  std::string host_name(const Slot& slot) const {
    const std::string module = module_part(slot.name);
    const bool is_weight = slot.name.ends_with(".weight") && names_.count(module) == 0;
    return is_weight ? module : slot.name;
  }

  template <typename Made>
  int64_t add(std::unique_ptr<Made> host) {
    names_.insert(host->name());
    hosts_.all.push_back(std::move(host));
    return static_cast<int64_t>(hosts_.all.size()) - 1;
  }

  void make_matrix_hosts(size_t i) {
    const Slot& slot = lowered_.slots[i];
    const SlotUses& uses = uses_[i];
    const bool is_plain = uses.others.empty() && (uses.conv1d.empty() || (uses.linear.empty() && uses.tables.empty()));
    if (!is_plain) {
      if (uses.is_multiplied || !uses.linear.empty() || !uses.conv1d.empty()) {
        make_hidden(i);
      }
      return;
    }
    if (!uses.tables.empty()) {
      SlotSource source(slot.tensor, at::Tensor());
      auto table =
          std::make_unique<nn::Embedding>(host_name(slot), slot.tensor.size(0), slot.tensor.size(1), source, slot.tensor.options());
      record(*table, slot, nullptr);
      taken_.insert(i);
      plan(slot).table = add(std::move(table));
    }
    if (!uses.linear.empty() || !uses.conv1d.empty()) {
      make_linear(i);
    }
  }

  void make_linear(size_t i) {
    const Slot& slot = lowered_.slots[i];
    const std::vector<torch::jit::Node*>& sites = uses_[i].linear.empty() ? uses_[i].conv1d : uses_[i].linear;
    const bool turned = uses_[i].linear.empty();
    if (taken_.count(i) > 0 || (shares_memory(slot) && !turned)) {  // a tied weight belongs to the table
      std::string name = taken_.count(i) > 0 ? module_of(sites.front(), module_) : host_name(slot);
      name = name.empty() || names_.count(name) > 0 ? slot.name + ".linear" : name;
      auto tied = std::make_unique<nn::Linear>(name, slot.tensor);
      hosts_.slot_names[name + ".weight"] = slot.name;
      taken_.insert(i);
      plan(slot).linear = add(std::move(tied));
      return;
    }
    const Slot* bias = own_bias(i, sites, turned ? 0 : 2);
    SlotSource source(slot.tensor, bias == nullptr ? at::Tensor() : bias->tensor);
    nn::LinearShape shape{slot.tensor.size(1), slot.tensor.size(0), bias != nullptr};
    if (turned) {
      shape = {slot.tensor.size(0), slot.tensor.size(1), bias != nullptr, nn::WeightLayout::kInOut};
    }
    auto linear = std::make_unique<nn::Linear>(host_name(slot), shape, source, slot.tensor.options());
    record(*linear, slot, bias);
    taken_.insert(i);
    plan(slot).linear = add(std::move(linear));
  }

  void make_convolution(size_t i) {
    const Slot& slot = lowered_.slots[i];
    const Slot* bias = own_bias(i, uses_[i].convolutions, 2);
    auto convolution = std::make_unique<ConvolutionHost>(host_name(slot), slot.tensor, bias == nullptr ? at::Tensor() : bias->tensor);
    record(*convolution, slot, bias);
    taken_.insert(i);
    plan(slot).convolution = add(std::move(convolution));
  }

  void make_hidden(size_t i) {
    const Slot& slot = lowered_.slots[i];
    std::vector<std::string> operations = uses_[i].others;
    if (!uses_[i].tables.empty()) {
      operations.emplace_back("aten::embedding");
    }
    std::sort(operations.begin(), operations.end());
    operations.erase(std::unique(operations.begin(), operations.end()), operations.end());
    SlotSource source(slot.tensor, at::Tensor());
    auto hidden = std::make_unique<HiddenLinear>(host_name(slot), nn::LinearShape{slot.tensor.size(1), slot.tensor.size(0)}, source,
                                                 slot.tensor.options(), join(operations));
    record(*hidden, slot, nullptr);
    taken_.insert(i);
    plan(slot).hidden = hidden.get();
    add(std::move(hidden));
  }

  void make_other(size_t i) {
    const Slot& slot = lowered_.slots[i];
    const std::string module = module_part(slot.name);
    const bool alone = module.empty() || (names_.count(module) > 0 && others_.count(module) == 0);
    const std::string name = alone ? slot.name : module;
    OtherModule*& host = others_[name];
    if (host == nullptr) {
      auto made = std::make_unique<OtherModule>(name);
      host = made.get();
      add(std::move(made));
    }
    const std::string part = alone ? "value" : slot.name.substr(slot.name.rfind('.') + 1);
    hosts_.slot_names[name + "." + part] = slot.name;
    plan(slot).weight = &host->add(part, slot.tensor);
    const auto is_convolution = [](const std::string& operation) { return operation.find("conv") != std::string::npos; };
    if (std::any_of(uses_[i].others.begin(), uses_[i].others.end(), is_convolution) && slot.tensor.dim() > 2) {
      host->set_convolution();
    }
  }

  /// The bias of the same module, if it is added at every site of the weight and nowhere else. @param input of a site that is its bias.
  const Slot* own_bias(size_t i, const std::vector<torch::jit::Node*>& sites, size_t input) {
    const std::string module = module_part(lowered_.slots[i].name);
    const int64_t bias = slot_index(lowered_, sites.front(), input);
    if (bias < 0 || lowered_.slots[bias].name != (module.empty() ? "bias" : module + ".bias") || lowered_.slots[bias].tensor.dim() != 1) {
      return nullptr;
    }
    const torch::jit::Value* value = sites.front()->input(input);
    const bool everywhere =
        std::all_of(sites.begin(), sites.end(), [&](const torch::jit::Node* site) { return site->input(input) == value; });
    if (!everywhere || value->uses().size() != sites.size()) {
      return nullptr;
    }
    taken_.insert(static_cast<size_t>(bias));
    return &lowered_.slots[bias];
  }

  /// Whether an earlier slot shares this one's memory, as tied weights of a scripted module do.
  bool shares_memory(const Slot& slot) const {
    for (const Slot& other : lowered_.slots) {
      if (&other == &slot) {
        return false;
      }
      if (other.tensor.dim() == 2 && other.tensor.data_ptr() == slot.tensor.data_ptr() && other.tensor.sizes() == slot.tensor.sizes() &&
          other.tensor.strides() == slot.tensor.strides()) {
        return true;
      }
    }
    return false;
  }

  void record(const nn::Host& host, const Slot& weight, const Slot* bias) {
    hosts_.slot_names[host.name() + ".weight"] = weight.name;
    if (bias != nullptr) {
      hosts_.slot_names[host.name() + ".bias"] = bias->name;
    }
  }

  void find_head(const std::string& output) {
    const torch::jit::Node* site = output_site(lowered_, output);
    if (site == nullptr) {
      return;
    }
    const int64_t slot = slot_index(lowered_, site, site->inputs().size() == 3 ? 1 : 2);
    if (slot >= 0 && plan(lowered_.slots[slot]).linear >= 0) {
      hosts_.head = dynamic_cast<nn::Linear*>(hosts_.all[plan(lowered_.slots[slot]).linear].get());
    }
  }

  void find_lookups() {
    for (size_t i = 0; i < uses_.size(); ++i) {
      for (const torch::jit::Node* site : uses_[i].tables) {
        const int64_t argument = argument_index(lowered_, site, 1), table = plan(lowered_.slots[i]).table;
        if (argument >= 0) {
          hosts_.lookups.push_back(
              {table < 0 ? nullptr : hosts_.all[table].get(), lowered_.slots[i].tensor.size(0), static_cast<size_t>(argument)});
        }
      }
    }
  }

  const Lowered& lowered_;
  const torch::jit::Module& module_;
  std::vector<SlotUses> uses_;
  Hosts hosts_;
  std::set<size_t> taken_;
  std::set<std::string> names_;
  std::map<std::string, OtherModule*> others_;
};

}  // namespace

void HiddenLinear::add(std::unique_ptr<nn::Attachment> attachment) {
  const auto* pair = dynamic_cast<const nn::LowRank*>(attachment.get());
  if (pair == nullptr) {
    config_error("adapter.trainable_token_indices", "is not supported at '" + name() +
                                                        "' of a TorchScript model, whose weight is used by " + operations_ +
                                                        ". Use target_modules or modules_to_save.");
  }
  if (pair->dropout > 0 || pair->bias_O) {
    config_error(pair->dropout > 0 ? "adapter.lora_dropout" : "adapter.lora_bias",
                 "is not supported at '" + name() + "' of a TorchScript model, whose weight is used by " + operations_ +
                     ". Use lora_dropout 0 and no lora_bias, or leave out this target.");
  }
  Linear::add(std::move(attachment));
}

at::Tensor effective_weight(const nn::MatrixHost& host) {
  std::shared_ptr<const ops::LinearWeight> weight = host.matrix_in_use();
  for (const nn::LowRank* pair : host.attached<nn::LowRank>()) {
    if (pair->enabled) {
      weight = std::make_shared<const ops::DenseWeight>(pair->applied_to(weight));
    }
  }
  const at::Tensor values_OI = weight->dequantised();
  if (dynamic_cast<const ConvolutionHost*>(&host) != nullptr) {
    return values_OI.view(host.matrix()->tensor().sizes());
  }
  return host.layout() == nn::WeightLayout::kInOut ? values_OI.t() : values_OI;
}

Hosts make_hosts(const Lowered& lowered, const torch::jit::Module& module, const std::string& output) {
  return Maker(lowered, module).make(output);
}

}  // namespace lora::torchscript

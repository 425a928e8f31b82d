#include "lora/nn/host.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lora::nn {

std::vector<Parameter> Host::base_parameters() const {
  std::vector<Parameter> parameters;
  for (const BaseWeight& weight : weights_) {
    if (weight.owned() && !weight.is_quantised()) {
      parameters.push_back(weight.parameter());
    }
  }
  return parameters;
}

std::vector<Tensor> Host::trained() const {
  std::vector<Tensor> all;
  for (const BaseWeight& weight : weights_) {
    all.push_back(weight.in_use());
  }
  for (const std::unique_ptr<Attachment>& attachment : attachments_) {
    if (attachment->enabled) {
      const std::vector<Tensor> own = attachment->tensors();
      all.insert(all.end(), own.begin(), own.end());
    }
  }
  std::erase_if(all, [](const Tensor& tensor) { return !tensor.defined() || !tensor.requires_grad(); });
  return all;
}

bool Host::is_plain() const {
  return std::none_of(attachments_.begin(), attachments_.end(), [](const auto& attachment) { return attachment->enabled; });
}

void Host::use_adapter(const std::string& adapter) {
  for (BaseWeight& weight : weights_) {
    weight.use_adapter(adapter);
  }
  for (const std::unique_ptr<Attachment>& attachment : attachments_) {
    attachment->enabled = !adapter.empty() && attachment->adapter == adapter;
  }
}

std::string Host::adapter_in_use() const {
  for (const BaseWeight& weight : weights_) {
    if (!weight.adapter_in_use().empty()) {
      return weight.adapter_in_use();
    }
  }
  const auto found = std::find_if(attachments_.begin(), attachments_.end(), [](const auto& attachment) { return attachment->enabled; });
  return found == attachments_.end() ? "" : (*found)->adapter;
}

void Host::remove_adapters() {
  for (BaseWeight& weight : weights_) {
    weight.remove_adapters();
  }
  attachments_.clear();
}

BaseWeight& Host::add_weight(const std::string& part, Tensor tensor, bool weight_decay) {
  return weights_.emplace_back(Parameter{name_ + "." + part, std::move(tensor), weight_decay});
}

BaseWeight& Host::add_weight(const std::string& part, std::shared_ptr<const ops::LinearWeight> matrix, bool owned) {
  return weights_.emplace_back(name_ + "." + part, std::move(matrix), owned);
}

std::vector<Parameter> base_parameters_of(const std::vector<Host*>& hosts) {
  std::vector<Parameter> all;
  for (const Host* host : hosts) {
    const std::vector<Parameter> own = host->base_parameters();
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

}  // namespace lora::nn

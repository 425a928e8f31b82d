#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "lora/nn/attachment.h"

namespace lora::test {

/// Given keys and values before each document's.
struct GivenKeys : nn::Attachment {
  GivenKeys(std::string adapter, at::Tensor keys, at::Tensor values)
      : Attachment(std::move(adapter)), keys_NKE(std::move(keys)), values_NKE(std::move(values)) {}

  std::vector<at::Tensor> tensors() const override { return {keys_NKE, values_NKE}; }
  nn::KeyPrefix key_prefix(const nn::Pass&) const override { return {keys_NKE, values_NKE}; }
  int64_t prefix_length() const override { return keys_NKE.size(0); }

  at::Tensor keys_NKE, values_NKE;
};

}  // namespace lora::test

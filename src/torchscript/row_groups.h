#pragma once
#include <cstdint>
#include <vector>

#include "lora/nn/token_batch.h"

namespace lora::torchscript {

/// The documents of a batch, those of one length together.
std::vector<std::vector<int64_t>> by_length(const nn::TokenBatch& batch);

/// Which tokens of the batch are theirs, on the batch's device.
at::Tensor tokens_of(const nn::TokenBatch& batch, const std::vector<int64_t>& documents);

/// These documents alone. `tokens` as tokens_of gives them.
nn::TokenBatch some_documents(const nn::TokenBatch& batch, const std::vector<int64_t>& documents, const at::Tensor& tokens);

}  // namespace lora::torchscript

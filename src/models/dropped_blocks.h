#pragma once
#include <memory>
#include <string>

#include "blocks.h"

namespace lora::models {

/// The block with dropout of what it adds to the residual stream; the block itself at rate 0.
/// @param name the dropout's module in transformers, or its place.
std::unique_ptr<AttentionBlock> with_dropout(std::unique_ptr<AttentionBlock> block, const std::string& name, double rate);
std::unique_ptr<FeedForward> with_dropout(std::unique_ptr<FeedForward> block, const std::string& name, double rate);

}  // namespace lora::models

#pragma once
#include <memory>
#include <string>

#include "models/blocks.h"

namespace lora::models {

/// The block with dropout of its output, before it is added to the residual stream; at rate 0, the block itself.
/// @param name the dropout module's in transformers, or one that describes its position.
std::unique_ptr<AttentionBlock> with_dropout(std::unique_ptr<AttentionBlock> block, const std::string& name, double rate);
std::unique_ptr<FeedForward> with_dropout(std::unique_ptr<FeedForward> block, const std::string& name, double rate);

}  // namespace lora::models

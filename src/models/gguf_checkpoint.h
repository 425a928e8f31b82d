#pragma once
#include <memory>

#include "lora/io/checkpoint.h"
#include "lora/io/gguf_file.h"

namespace lora::models {

/// The weights of a GGUF file under transformers' names and in transformers' layout: permuted rows, fused projections and norms are as
/// config.json's family stores them. Matrices of projections stay packed; embeddings, the head, routers and biases are decoded to float32.
/// Throws model Error for a tensor that the architecture does not have, and for a type that cannot be decoded.
std::unique_ptr<io::Checkpoint> open_gguf_checkpoint(std::shared_ptr<const io::GgufFile> file);

}  // namespace lora::models

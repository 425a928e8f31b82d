#pragma once
#include "lora/base/json.h"
#include "lora/io/gguf_architecture.h"
#include "lora/io/gguf_file.h"

namespace lora::models {

/// The architecture of a file. Throws model Error that lists the known ones.
const io::GgufArchitecture& gguf_architecture(const io::GgufFile& file);

/// The config.json of transformers that describes the file's model, by its metadata and the shapes of its tensors. What GGUF does not
/// say is as llama.cpp computes it. Throws model Error naming the key for metadata that no config.json of the family can express.
Json gguf_config(const io::GgufFile& file);

/// The numbers of attention heads.
io::GgufHeads gguf_heads(const io::GgufFile& file);

/// The tensor of that name; null if there is none.
const io::GgufTensor* find_gguf_tensor(const io::GgufFile& file, std::string_view name);

}  // namespace lora::models

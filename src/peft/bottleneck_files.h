#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lora/peft/base_reference.h"
#include "lora/peft/bottleneck_options.h"
#include "peft/tensor_file.h"

namespace lora::peft {

/// An adapter in the adapters library's layout: adapter_config.json, adapter.safetensors and, if a head was trained with it,
/// head_config.json and model_head.safetensors.
struct BottleneckFiles {
  StoredTensors adapter;  ///< by bottleneck_key(), whatever the adapter's name and the version of the library
  StoredTensors head;
  std::map<std::string, std::string> metadata;  ///< of the adapter's weights
};

/// The key of a tensor: the place in the model, the adapter's name, which is always "default" here, and the part of the bottleneck.
std::string bottleneck_key(const std::string& tap, const std::string& part);

/// Reads the folder; files of torch.save as plain tensors only. Throws model Error for a damaged file, for one that holds several adapters
/// and for a key that belongs to no bottleneck.
BottleneckFiles read_bottleneck_files(const std::filesystem::path& folder);

/// Writes the folder's files; throws Error (diverged) for a value that is not finite, before anything is written.
/// @param adapter by bottleneck_key(). @param head by the model's names; the last one has a row for each label.
void write_bottleneck_files(const std::filesystem::path& folder, const BottleneckOptions& options, int64_t hidden_size,
                            const BaseReference& base, const std::vector<io::NamedTensor>& adapter,
                            const std::vector<io::NamedTensor>& head);

}  // namespace lora::peft

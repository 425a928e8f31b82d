#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lora/io/tensors.h"
#include "lora/peft/update.h"

namespace lora::peft {

/// A file's tensors by name.
using StoredTensors = std::map<std::string, io::Tensor>;

/// The updates' tensors under PEFT's keys, detached.
std::vector<io::NamedTensor> file_tensors(const std::vector<AdapterUpdate>& updates);

/// The tensors under their names.
std::vector<io::NamedTensor> named_tensors(const std::vector<AdapterTensor>& tensors);

/// Throws Error (diverged) naming the first tensor with a NaN or an infinity.
void require_finite(const std::vector<io::NamedTensor>& tensors);

/// Whether a weights file is one of torch.save, as PEFT's older versions write, rather than safetensors.
bool is_torch_archive(const std::filesystem::path& file);

/// The tensors of a weights file of either kind, with the metadata of a safetensors file. Throws model Error for a damaged one.
std::vector<io::NamedTensor> read_tensors(const std::filesystem::path& file, std::map<std::string, std::string>& metadata);

/// Whether two tensors have the same shape and values, whatever their dtypes.
bool same_values(const io::Tensor& a, const io::Tensor& b);

/// Copies the stored tensor of the same name into each of `tensors`. Throws model Error that lists every missing, unexpected, misshapen
/// or non-finite tensor, before anything is copied.
/// @param where the file, for messages.
void load_into(const std::string& where, const StoredTensors& stored, const std::vector<io::NamedTensor>& tensors);

}  // namespace lora::peft

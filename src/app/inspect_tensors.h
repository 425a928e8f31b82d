#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "lora/base/json.h"

namespace lora::app {

/// A tensor as a safetensors header describes it.
struct TensorFacts {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  int64_t bytes = 0;

  int64_t num_elements() const;
};

/// Every tensor of a safetensors file, by offset, from the header only. Throws model Error (io::parse_header).
std::vector<TensorFacts> read_tensor_facts(const std::filesystem::path& file);

/// Whether a component of a module's name is a number, as of a layer or expert.
bool is_number(const std::string& part);

/// "model.layers.0.mlp.up_proj" → "model.layers.*.mlp.up_proj".
std::string name_pattern(const std::string& name);

/// Groups tensors by pattern, shape and dtype: one {"pattern", "count", "shape", "dtype"} per group, in the order of first appearance.
Json grouped_tensors(const std::vector<TensorFacts>& tensors);

/// {"BF16": {"tensors", "parameters"}, …}
Json dtype_counts(const std::vector<TensorFacts>& tensors);

/// The total number of elements.
int64_t num_elements(const std::vector<TensorFacts>& tensors);
/// The same without a model's buffers, which are 64-bit integers or boolean masks.
int64_t num_parameters(const std::vector<TensorFacts>& tensors);

/// The entries of grouped_tensors as lines of text.
std::string grouped_text(const Json& groups);
/// "338 BF16, 2 F32"
std::string dtype_text(const Json& counts);

/// Describes a single .safetensors file: its tensors and metadata.
Json tensor_file_facts(const std::filesystem::path& file);
std::string tensor_file_text(const Json& facts, bool colour);

}  // namespace lora::app

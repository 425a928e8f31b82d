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

/// Every tensor of a safetensors file by its header alone, by offset. Throws model Error (io::parse_header).
std::vector<TensorFacts> read_tensor_facts(const std::filesystem::path& file);

/// Whether a part of a module's name is the number of a layer or expert.
bool is_number(const std::string& part);

/// "model.layers.0.mlp.up_proj" → "model.layers.*.mlp.up_proj".
std::string name_pattern(const std::string& name);

/// Tensors of one pattern, shape and dtype as one entry each: {"pattern", "count", "shape", "dtype"}, in the order of the
/// first of them.
Json grouped_tensors(const std::vector<TensorFacts>& tensors);

/// {"BF16": {"tensors", "parameters"}, …}
Json dtype_counts(const std::vector<TensorFacts>& tensors);

/// The sum of all elements.
int64_t num_elements(const std::vector<TensorFacts>& tensors);
/// The same without the buffers of a model, which are integers or masks: 64-bit integers and booleans.
int64_t num_parameters(const std::vector<TensorFacts>& tensors);

/// The rows of grouped_tensors as lines.
std::string grouped_text(const Json& groups);
/// "338 BF16, 2 F32"
std::string dtype_text(const Json& counts);

/// A single .safetensors file: its tensors and metadata.
Json tensor_file_facts(const std::filesystem::path& file);
std::string tensor_file_text(const Json& facts, bool colour);

}  // namespace lora::app

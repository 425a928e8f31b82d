#pragma once
#include <ATen/ATen.h>
#include <c10/util/accumulate.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/io/tensors.h"
#include "support/paths.h"

namespace lora::test {

/// DOCUMENT of scripts/golden/config_keys.py.
inline const std::vector<int> kFormulaDocument{3, 14, 7, 1, 22, 9, 4, 17, 30, 11, 2, 28, 5, 19, 8, 26, 13, 6, 31, 10, 24, 15, 29, 12};

/// A family's file of tests/data/config_keys.
inline Json formula_case(const std::string& family) {
  return read_json(std::filesystem::path(data_folder()) / "config_keys" / (family + ".json"), ErrorKind::kData);
}

/// `weight` of that script: a tensor's values, given its name and shape.
inline at::Tensor formula_weight(const std::string& name, const std::vector<int64_t>& shape) {
  int64_t phase = 0;
  for (size_t i = 0; i < name.size(); ++i) {
    phase += static_cast<int64_t>(i + 1) * static_cast<unsigned char>(name[i]);
  }
  const double offset = shape.size() == 1 && name.ends_with("weight") ? 1.0 : 0.0;
  const at::Tensor place = at::arange(c10::multiply_integers(shape), at::kDouble) * 0.7 + static_cast<double>(phase % 997);
  return (place.sin() * 0.3 + offset).to(at::kFloat).view(shape);
}

/// Writes a model's folder.
/// @param tensors names and shapes. @param file_name of a tensor, whose values are those of its own name; null: the same.
inline void write_formula_model(const std::filesystem::path& folder, const Json& config, const Json& tensors,
                                std::string (*file_name)(const std::string& name) = nullptr) {
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "config.json") << config.dump();
  std::vector<io::NamedTensor> named;
  for (const auto& [name, shape] : tensors.items()) {
    named.push_back({file_name == nullptr ? name : file_name(name), formula_weight(name, shape.get<std::vector<int64_t>>())});
  }
  io::save_tensors(folder / "model.safetensors", named);
}

}  // namespace lora::test

#pragma once
#include <ATen/ATen.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/diffusion/pipeline.h"
#include "lora/io/tensors.h"
#include "support/paths.h"
#include "support/temporary_folder.h"

namespace lora::test {

/// The folder of a small pipeline of tests/data/diffusion: sd1, sd2 or sdxl.
inline std::filesystem::path pipeline_folder(const std::string& family) {
  return kData / "diffusion" / family / "model";
}

/// A copy of it that a test can change.
inline std::filesystem::path copied_pipeline(const std::string& family, const TemporaryFolder& folder) {
  std::filesystem::copy(pipeline_folder(family), folder / family, std::filesystem::copy_options::recursive);
  return folder / family;
}

/// The tensors of its single-file checkpoint, made from the folder by the table of scripts/golden/diffusion_single_files.py.
inline std::vector<io::NamedTensor> single_file_tensors(const std::string& family) {
  const diffusion::Pipeline pipeline({pipeline_folder(family)});
  const Json tables = read_json(kData / "diffusion" / "single_files.json", ErrorKind::kData);
  std::map<std::string, std::unique_ptr<io::Checkpoint>> components;
  std::vector<io::NamedTensor> tensors;
  for (const auto& [name, entry] : tables.at(family).items()) {
    const std::string component = entry[0];
    std::unique_ptr<io::Checkpoint>& weights = components[component];
    weights = weights == nullptr ? pipeline.weights(component) : std::move(weights);
    std::vector<at::Tensor> parts;
    for (const Json& part : entry[1]) {
      parts.push_back(weights->tensor(part));
    }
    at::Tensor tensor = at::cat(parts);
    const bool is_convolution = name.find(".mid.attn_1.") != std::string::npos && tensor.dim() == 2;
    tensor = name.ends_with("text_projection") ? tensor.t() : is_convolution ? tensor.unsqueeze(-1).unsqueeze(-1) : tensor;
    tensors.push_back({name, tensor.contiguous()});
  }
  return tensors;
}

/// Writes that file.
inline std::filesystem::path write_single_file(const std::string& family, const TemporaryFolder& folder,
                                               const std::map<std::string, std::string>& metadata = {}) {
  io::save_tensors(folder / (family + ".safetensors"), single_file_tensors(family), metadata);
  return folder / (family + ".safetensors");
}

}  // namespace lora::test

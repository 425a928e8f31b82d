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

/// A tensor as Stability's code has it: a transposed projection, and convolutions in the autoencoder's attention.
inline at::Tensor stored_in_single_file(const std::string& name, const at::Tensor& tensor) {
  if (name == "text_projection") {
    return tensor.t().contiguous();
  }
  const bool is_convolution = name.find(".mid.attn_1.") != std::string::npos && tensor.dim() == 2;
  return is_convolution ? tensor.unsqueeze(-1).unsqueeze(-1) : tensor;
}

/// The tensors of its single-file checkpoint, made from the folder by the table of scripts/golden/diffusion_single_files.py.
inline std::vector<io::NamedTensor> single_file_tensors(const std::string& family) {
  const diffusion::Pipeline pipeline({pipeline_folder(family)});
  const Json tables = read_json(kData / "diffusion" / "single_files.json", ErrorKind::kData);
  std::vector<io::NamedTensor> tensors;
  for (const auto& [component, table] : tables.at(family).items()) {
    const std::unique_ptr<io::Checkpoint> weights = pipeline.weights(component);
    for (const auto& [own, entry] : table.at("names").items()) {
      const bool is_open = own.ends_with('.') || own.ends_with('_');  // "weight" and "bias" follow
      for (const std::string& ending : is_open ? std::vector<std::string>{"weight", "bias"} : std::vector<std::string>{""}) {
        std::vector<at::Tensor> parts;
        for (const Json& part : entry.is_array() ? entry : Json::array({entry})) {
          const std::string name = part.get<std::string>() + ending;
          if (weights->contains(name)) {
            parts.push_back(weights->tensor(name));
          }
        }
        if (!parts.empty()) {
          tensors.push_back({table.at("prefix").get<std::string>() + own + ending, stored_in_single_file(own, at::cat(parts))});
        }
      }
    }
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

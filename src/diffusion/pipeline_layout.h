#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "lora/diffusion/pipeline.h"

namespace lora::diffusion {

/// How a pipeline lies on disk.
class PipelineLayout {
 public:
  virtual ~PipelineLayout() = default;

  virtual PipelineFamily family() const = 0;
  virtual bool has(const std::string& component) const = 0;
  virtual ComponentConfig config(const std::string& component) const = 0;
  virtual std::unique_ptr<io::Checkpoint> weights(const std::string& component) const = 0;
  /// Where the component's tensors are in a single file; a folder has none.
  virtual std::vector<TensorView> views(const std::string& /*component*/) const { return {}; }
  /// Throws model Error if there is none.
  virtual std::filesystem::path tokenizer_folder(const std::string& component) const = 0;
  /// The files of the config, if it comes from one.
  virtual std::vector<std::filesystem::path> config_files(const std::string& component) const = 0;
  virtual bool forces_zeros_for_empty_prompt() const = 0;
};

/// The family that model_index.json of a folder names. Throws model Error for an unknown one, which lists the known ones.
PipelineFamily family_of_folder(const std::filesystem::path& folder);

std::unique_ptr<PipelineLayout> open_pipeline_folder(const PipelineOptions& options);
std::unique_ptr<PipelineLayout> open_single_file(const PipelineOptions& options);

}  // namespace lora::diffusion

#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lora/diffusion/pipeline.h"
#include "lora/io/checkpoint.h"
#include "lora/peft/approximate.h"
#include "lora/peft/formats.h"

namespace lora::app {

/// Whether there is a text-to-image pipeline at the path: a folder with model_index.json, or a .safetensors file.
bool is_pipeline(const std::filesystem::path& path);

/// The components of a pipeline that adapters may change, as one checkpoint: a tensor is named by its component as in an adapter of the
/// pipeline, "unet.conv_in.weight". Its fingerprint is that of the network, by which adapters recognise their base.
class PipelineWeights : public io::Checkpoint {
 public:
  /// Throws what diffusion::Pipeline throws.
  explicit PipelineWeights(const diffusion::Pipeline& pipeline);

  bool contains(const std::string& name) const override;
  std::vector<std::string> names() const override;
  io::TensorFacts facts(const std::string& name) const override;
  io::StoredWeight stored(const std::string& name) const override;
  void release(const std::string& name) const override;
  std::string fingerprint() const override;
  std::vector<std::filesystem::path> files() const override;

  /// The components, with the network first.
  const std::vector<std::string>& components() const { return components_; }

 private:
  /// The checkpoint of a tensor's component. Throws model Error if there is none.
  const io::Checkpoint& part_of(const std::string& name) const;

  std::vector<std::string> components_;
  std::map<std::string, std::unique_ptr<io::Checkpoint>> parts_;
};

/// The names of a checkpoint's modules with a weight of at least two dimensions, except embeddings: the linear modules and convolutions.
std::vector<std::string> adaptable_modules(const io::Checkpoint& weights);

/// The modules to extract an adapter from. @param names modules or ends of their names; empty or "all-linear": those with a matrix.
/// Throws config Error for a name that matches no module.
peft::ExtractionTargets pipeline_targets(const io::Checkpoint& weights, const std::vector<std::string>& names);

/// What converters know of a pipeline: the network's config with `prediction_type` of the scheduler's, and the adaptable modules.
peft::BaseFacts pipeline_facts(const diffusion::Pipeline& pipeline, const PipelineWeights& weights, const std::string& name);

}  // namespace lora::app

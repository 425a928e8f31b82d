#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/data/labels.h"
#include "lora/io/checkpoint.h"
#include "lora/io/checkpoint_writer.h"
#include "lora/models/checkpoint_layout.h"
#include "lora/models/options.h"
#include "lora/models/packed_modules.h"
#include "lora/peft/merge.h"

namespace lora::app {

/// Appends the rows of a tensor of the result, a piece at a time. Throws model Error for a value that is not finite in `dtype`.
/// @param base all of the base's values. @param release is called after each piece, to drop the pages that were read.
void append_merged(const peft::MergedTensor& tensor, at::ScalarType dtype, const at::Tensor& base,
                   const std::function<void(const at::Tensor&)>& append, const std::function<void()>& release);

/// A base model, config.json and weights, that is written again with some of its weights changed: one piece of one tensor at a time.
/// Weights that are packed in its files are read as the numbers that they decode to.
class MergeBase {
 public:
  /// Throws model Error for weights that cannot be read. Warns of the layout's notes. `options` must live longer.
  explicit MergeBase(const models::ModelOptions& options);

  const peft::BaseLayout& layout() const { return layout_; }
  const models::CheckpointLayout& files() const { return files_; }
  const io::Checkpoint& source() const { return *source_; }
  /// The formats in which weights are packed, "nf4" for example; empty: all are plain.
  std::vector<std::string> packed_formats() const { return {packed_formats_.begin(), packed_formats_.end()}; }
  /// config.json's quantization_config; null if it has none.
  const Json& quantization_config() const { return quantization_config_; }
  /// The dtype that programs compute in, unless the options name another one.
  at::ScalarType computing_dtype() const { return computing_dtype_; }

  /// From now on the weights that the plan packs are those of a model that is quantised while it is loaded: packed and decoded again.
  void use_quantised_values(models::QuantizationPlan plan) { quantised_ = std::move(plan); }
  /// The adapters with the base's names, as updates of the unchanged base, in the layout of the family's weights. If the family is not
  /// known, the adapters' own flag decides.
  std::vector<peft::WeightedAdapter> settled(std::vector<peft::WeightedAdapter> adapters) const;
  /// Sets the names to write: those of the base without the prefixes of wrappers, and for a classifier those that transformers
  /// expects.
  void settle_names(peft::MergePlan& plan) const;
  /// The config.json of the result. @param quantization its quantization_config; null: all weights are plain.
  std::string config_text(bool unties, const std::optional<data::LabelSet>& labels, const Json& quantization = nullptr) const;

  /// The base's values of a tensor of the result.
  at::Tensor values(const peft::MergedTensor& tensor) const;
  /// A tensor of the result as plain numbers, ready to be written.
  io::TensorStream stream(const peft::MergedTensor& tensor) const;
  /// Drops the pages of the tensor's file from memory.
  void release(const peft::MergedTensor& tensor) const;

 private:
  at::Tensor values(const std::string& name) const;
  at::Tensor weight_of(const std::string& module, const std::string& adapter) const;
  at::ScalarType written_dtype(const peft::MergedTensor& tensor) const;
  void produce(const peft::MergedTensor& tensor, at::ScalarType dtype, const std::function<void(const at::Tensor&)>& append) const;

  const models::ModelOptions& options_;
  std::unique_ptr<io::Checkpoint> source_;
  Json config_, quantization_config_;
  at::ScalarType computing_dtype_ = at::kFloat;
  models::CheckpointLayout files_;
  std::set<std::string> packed_formats_;
  peft::BaseLayout layout_;
  std::optional<models::QuantizationPlan> quantised_;
};

}  // namespace lora::app

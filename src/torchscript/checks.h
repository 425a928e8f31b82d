#pragma once
#include <vector>

#include "torchscript/script_model.h"

namespace lora::torchscript {

/// A small batch with the arguments that the network gets for it.
struct Sample {
  Sample(const NetworkModel& model, nn::Batch tokens)
      : batch(tokens.to(model.device())), rectangle(make_rectangle(batch)), arguments(model.fields().arguments(batch, rectangle)) {}

  nn::Batch batch;
  Rectangle rectangle;
  std::vector<c10::IValue> arguments;
};

/// The subject of the checks: a network, the batches that it is tried on, and which of its results count.
class Subject {
 public:
  virtual ~Subject() = default;
  virtual NetworkModel& model() = 0;
  /// Two samples with different numbers of documents.
  virtual const std::vector<Sample>& samples() const = 0;
  /// The sample that adapters are tried on.
  virtual const Sample& sample_for_adapters() const { return samples().front(); }
  /// The model's result for a pass over a sample.
  virtual at::Tensor outputs(const nn::Pass& pass) const = 0;
  /// The same from a result of the network for that sample.
  virtual at::Tensor outputs_of(const c10::IValue& result, const Sample& sample) const = 0;
};

/// The sample's arguments with another id as padding after its documents.
std::vector<c10::IValue> padded_arguments(const NetworkModel& model, const Sample& sample, int64_t id);

/// Whether the tensors are equal to the bit, with NaN at the same positions.
bool same_bits(const at::Tensor& a, const at::Tensor& b);

/// Runs the samples and throws model Error if adapters would not work: the lowered graph does not give the module's bits, the module is
/// random in evaluation mode or changes its own tensors, a pair at a host does not have the effect of the same change of the weight, or
/// the result has no gradient.
void require_working_adapters(Subject& subject);

/// Runs require_working_adapters on small documents, and finds out whether padding affects the results.
void require_sound_network(ScriptModel& model);

/// The most passes of the whole module, forward and backward, that checking a valid module takes.
constexpr int64_t kCheckPasses = 150;

}  // namespace lora::torchscript

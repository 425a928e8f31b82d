#pragma once
#include <vector>

#include "script_model.h"

namespace lora::torchscript {

/// A small batch as a network takes it.
struct Sample {
  Sample(const NetworkModel& model, nn::TokenBatch tokens)
      : batch(tokens.to(model.device())), rectangle(make_rectangle(batch)), arguments(model.fields().arguments(batch, rectangle)) {}

  nn::TokenBatch batch;
  Rectangle rectangle;
  std::vector<c10::IValue> arguments;
};

/// A network as the checks see it: batches that it is tried on, and what of its results counts.
class Subject {
 public:
  virtual ~Subject() = default;
  virtual NetworkModel& model() = 0;
  /// Two, of other numbers of documents.
  virtual const std::vector<Sample>& samples() const = 0;
  /// That of them which adapters are tried on.
  virtual const Sample& sample_for_adapters() const { return samples().front(); }
  /// What the model makes of a pass over a sample.
  virtual at::Tensor outputs(const nn::Pass& pass) const = 0;
  /// The same of a result that the network gave for it.
  virtual at::Tensor outputs_of(const c10::IValue& result, const Sample& sample) const = 0;
};

/// The sample's arguments with another id behind the ends of its documents.
std::vector<c10::IValue> padded_arguments(const NetworkModel& model, const Sample& sample, int64_t id);

/// Equal to the bit, or not a number at the same places.
bool same_bits(const at::Tensor& a, const at::Tensor& b);

/// Runs the samples and throws model Error where an adapter would not do what it should: the lowered graph gives other bits than the
/// module, its evaluation form is random, it changes its own tensors, a pair at a host does not do what the change of its weight does,
/// or no gradient comes back to it.
void check_adapters(Subject& subject);

/// check_adapters on small documents. Finds out besides whether padding counts.
void check_network(ScriptModel& model);

/// Passes of the whole module that the check of a sound one takes at most, forward and backward.
constexpr int64_t kCheckPasses = 150;

}  // namespace lora::torchscript

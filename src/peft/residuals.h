#pragma once
#include <string>
#include <vector>

#include "lora/io/tensors.h"
#include "peft/keys.h"
#include "peft/lora_init.h"
#include "peft/tensor_file.h"

namespace lora::peft {

/// PiSSA and OLoRA train on a base from which the initial B A is subtracted: W' = W - scale · B0 A0. Their adapter is useless without
/// W', so the file has an adapter of twice the rank for W itself, like PEFT's path_initial_model_for_weight_conversion:
///     W' + scale · B A = W + scale · [B, -B0] [A; A0]
/// Without such an initialization no function here changes anything.
class Residuals {
 public:
  /// Subtracts the initialization from its host's weight, computed in float32 and rounded once to the weight's dtype (as in PEFT).
  void take_out(const nn::Linear& host, const LowRankStart& start, double scale);

  /// The tensors for the file, from the trained ones: [A; A0] and [B, -B0] for each pair, others unchanged.
  /// @param trained under the file's keys or AdapterFolder's names.
  std::vector<io::NamedTensor> portable(const std::vector<io::NamedTensor>& trained) const;

  /// The inverse: loads the trained tensors from those of such an adapter. On the machine that wrote the file, its A0 and B0 are
  /// bit-identical to this run's; if they are not, the base weights are changed to match the file. Throws model Error like load_into,
  /// before anything is changed.
  /// @param trained and `stored` under AdapterFolder's names.
  void load(const std::string& where, const StoredTensors& stored, const std::vector<io::NamedTensor>& trained);

  /// The options of the adapter in the file: twice the rank with the same scale, and init_lora_weights true.
  LoraOptions portable(LoraOptions options) const;

 private:
  struct Start {
    std::string module;
    Tensor weight_OI;  ///< the host's weight
    LowRankStart start;
    double scale;
  };
  const Start* find(const std::string& key, ParameterRole role) const;

  std::vector<Start> starts_;
};

}  // namespace lora::peft

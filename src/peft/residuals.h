#pragma once
#include <string>
#include <vector>

#include "lora/peft/update.h"
#include "peft/lora_init.h"
#include "peft/tensor_file.h"

namespace lora::peft {

/// PiSSA and OLoRA train on a base from which the initial B A is subtracted: W' = W - scale · B0 A0. Their adapter is useless without
/// W', so the file has an adapter of twice the rank for W itself, like PEFT's path_initial_model_for_weight_conversion:
///     W' + scale · B A = W + scale · [B, -B0] [A; A0]
/// Without such an initialization no function here changes anything.
class Residuals {
 public:
  /// Subtracts the initialization from its host's weight, computed in float32 and rounded once to the weight's dtype (as in PEFT). A
  /// packed weight cannot change: it is replaced by a ResidualWeight while the adapter is in use.
  void take_out(nn::Linear& host, const LowRankStart& start, double scale, const std::string& adapter);

  /// The updates for the file, from the trained ones: [A; A0] and [B, -B0] for each pair, others unchanged.
  std::vector<AdapterUpdate> portable(std::vector<AdapterUpdate> trained) const;

  /// The inverse: loads the trained tensors from those of such an adapter. On the machine that wrote the file, its A0 and B0 are
  /// bit-identical to this run's; if they are not, the base weights are changed to match the file. Throws model Error like load_into,
  /// before anything is changed.
  /// @param stored under AdapterFolder's names.
  void load(const std::string& where, const StoredTensors& stored, const std::vector<AdapterUpdate>& trained);

  /// The options of the adapter in the file: twice the rank with the same scale, and init_lora_weights true.
  LoraOptions portable(LoraOptions options) const;

 private:
  struct Start {
    std::string module;
    Tensor weight_OI;    ///< the host's weight; undefined if it is packed
    LowRankStart start;  ///< shared with the ResidualWeight that subtracts it from a packed weight
    double scale;
  };
  /// The start of an update; null if nothing was subtracted for it.
  const Start* find(const AdapterUpdate& update) const;

  /// Changes the base weight to the file's initialization if that is another one. Returns whether it was the same.
  static bool match(Start& own, const LowRankStart& files);

  std::vector<Start> starts_;
};

}  // namespace lora::peft

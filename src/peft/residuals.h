#pragma once
#include <string>
#include <vector>

#include "lora/io/tensors.h"
#include "lora_init.h"
#include "tensor_file.h"

namespace lora::peft {

/// PiSSA and OLoRA train on a base that lacks what A and B started with: W' = W - scale · B0 A0. An adapter of them
/// means nothing without W', so their files hold one of twice the rank that fits W itself, as PEFT's
/// path_initial_model_for_weight_conversion gives it:
///     W' + scale · B A = W + scale · [B, -B0] [A; A0]
/// Without a start every function here leaves things as they are.
class Residuals {
 public:
  /// Takes a start out of its host's weight: computed in float32, rounded once to the weight's dtype (as in PEFT).
  void take_out(const nn::Linear& host, const LowRankStart& start, double scale);

  /// The file's tensors of the trained ones: [A; A0] and [B, -B0] for each pair, others as they are.
  /// @param trained under the file's keys or AdapterFolder's names.
  std::vector<io::NamedTensor> portable(const std::vector<io::NamedTensor>& trained) const;

  /// The inverse: takes the trained tensors from those of such an adapter. The file's A0 and B0 are this run's bit by
  /// bit on the machine that wrote it; where they are not, the bases are brought to the file's. Throws model Error as
  /// load_into, before anything is changed.
  /// @param trained and `stored` under AdapterFolder's names.
  void load(const std::string& where, const StoredTensors& stored, const std::vector<io::NamedTensor>& trained);

  /// The options of the adapter in the file: twice the rank at the same scale, init_lora_weights true.
  LoraOptions portable(LoraOptions options) const;

 private:
  struct Start {
    std::string module;
    Tensor weight_OI;  ///< the host's own
    LowRankStart start;
    double scale;
  };
  const Start* find(const std::string& key, const char* suffix) const;

  std::vector<Start> starts_;
};

}  // namespace lora::peft

#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "lora/base/enum_table.h"
#include "lora/nn/bottleneck.h"
#include "lora/peft/options.h"

namespace lora::peft {

/// The peft_type of bottleneck adapters, which PEFT itself does not have: keys and files are the adapters library's.
inline constexpr const char* kBottleneck = "BOTTLENECK";
/// The version key of what we write: the adapters library that it equals.
inline constexpr const char* kBottleneckVersion = "adapters.1.3.0";

/// The named configurations of the adapters library that are supported.
enum class BottleneckKind {
  kSeqBn,        ///< Pfeiffer et al. 2020: one after the feed-forward block
  kDoubleSeqBn,  ///< Houlsby et al. 2019: one after each block
  kParBn,        ///< He et al. 2021: one next to the feed-forward block
};
inline constexpr EnumTable<BottleneckKind, 6> kBottleneckKinds{{{{BottleneckKind::kSeqBn, "seq_bn"},
                                                                 {BottleneckKind::kDoubleSeqBn, "double_seq_bn"},
                                                                 {BottleneckKind::kParBn, "par_bn"},
                                                                 {BottleneckKind::kSeqBn, "pfeiffer"},
                                                                 {BottleneckKind::kDoubleSeqBn, "houlsby"},
                                                                 {BottleneckKind::kParBn, "parallel"}}}};

/// The library's init_weights.
enum class BottleneckInit {
  kBert,        ///< N(0, 0.02), biases 0
  kMamAdapter,  ///< down as torch.nn.Linear's weight, up and biases 0
  kHoulsby,     ///< N(0, 0.01) within two deviations, biases 0
};
inline constexpr EnumTable<BottleneckInit, 3> kBottleneckInits{
    {{{BottleneckInit::kBert, "bert"}, {BottleneckInit::kMamAdapter, "mam_adapter"}, {BottleneckInit::kHoulsby, "houlsby"}}}};

/// How a bottleneck's output is scaled.
enum class BottleneckScaling {
  kFixed,
  kLearned,  ///< one trained number
  kChannel,  ///< a trained number per channel
};

/// The keys of the adapters library's BnConfig, with its names, meaning and defaults (those of seq_bn). The head of a classification is
/// trained too (modules_to_save).
struct BottleneckOptions : ExtraOptions {
  bool mh_adapter = false;
  bool output_adapter = true;
  double reduction_factor = 16;                   ///< channels / reduction_factor are those of the bottleneck
  std::map<int64_t, double> reduction_of_layers;  ///< instead, for these layers
  bool has_default_reduction = true;              ///< false: reduction_of_layers must have every layer
  nn::BottleneckForm form{.original_ln_before = true};
  bool ln_before = false;
  bool ln_after = false;
  BottleneckInit init = BottleneckInit::kBert;
  std::optional<int64_t> init_weights_seed;  ///< the modules start alike, from this seed
  BottleneckScaling scaling = BottleneckScaling::kFixed;
  std::vector<int64_t> leave_out;  ///< layers without an adapter
};

/// The options of a named configuration.
BottleneckOptions bottleneck_of(BottleneckKind kind);

}  // namespace lora::peft

#pragma once
#include <optional>
#include <vector>

#include "app/merge_packing.h"
#include "lora/app/merge_command.h"
#include "lora/config/stored_quantization.h"

namespace lora::app {

/// What the quantisation of a base, and of the bases that its adapters were trained on, means for a merge.
struct MergeQuantization {
  /// How the base was quantised for all of the adapters, if they are merged into these weights; none: into the plain ones.
  std::optional<config::StoredQuantization> seen;
  /// How it was quantised for all of them, if they are merged into the plain weights: to show what differs.
  std::optional<config::StoredQuantization> trained_on;
  PackingPlan packing;  ///< --requantize; empty: the result is plain
};

/// Checks that an adapter was trained on this base, as peft::require_same_base does.
void require_seen_base(const peft::WeightedAdapter& adapter, const peft::BaseReference& base);

/// Decides by --base-as and --requantize, gives the base its quantised values if the adapters are merged into these, and says for each
/// adapter on which base it was trained and what it is merged into. Throws config Error for flags that mean nothing for this base, and
/// model Error for adapters whose base is not known or differs, for an adapter that corrects the error of a quantised base (LoftQ) and is
/// to be merged into the plain one, and for a packed base with --unmerge.
MergeQuantization settle_quantization(const MergeRequest& request, const models::ModelOptions& model, MergeBase& base,
                                      const std::vector<peft::WeightedAdapter>& adapters);

/// The quantization_config of the result; null if it is plain.
Json result_quantization(const MergeBase& base, const MergeQuantization& quantization, const PackedResult& result);

}  // namespace lora::app

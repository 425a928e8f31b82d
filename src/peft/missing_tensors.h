#pragma once
#include <set>
#include <string>
#include <vector>

#include "lora/peft/adapter_folder.h"

namespace lora::peft {

/// What may be missing from an adapter's file: PEFT leaves it at its initial values.
struct MayMiss {
  bool biases = false;          ///< trained biases: PEFT 0.6 to 0.20 lost them with bias "lora_only"
  bool idle_pairs = false;      ///< whole pairs whose initial values have no effect
  std::set<std::string> names;  ///< further names of tied weights
};

/// Returns the tensors without those that the file lacks and may lack, and warns about these. Throws model Error if the file has no pair.
std::vector<AdapterTensor> without_missing(const std::vector<AdapterTensor>& tensors, const AdapterFolder& file, const MayMiss& may_miss);

}  // namespace lora::peft

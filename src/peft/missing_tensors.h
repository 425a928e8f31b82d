#pragma once
#include <set>
#include <string>
#include <vector>

#include "tensor_file.h"

namespace lora::peft {

/// What an adapter's file need not have: PEFT leaves it as it starts.
struct MayMiss {
  bool biases = false;          ///< trained biases: PEFT 0.6 to 0.20 lost them with bias "lora_only"
  bool idle_pairs = false;      ///< pairs, all parts of one, that start with no effect
  std::set<std::string> names;  ///< second names of tied weights
};

/// The tensors without those that may miss and do, which is said in a line. Throws model Error if the file has no pair at all.
/// @param tensors under AdapterFolder's names, as `stored`.
std::vector<io::NamedTensor> without_missing(const std::vector<io::NamedTensor>& tensors, const StoredTensors& stored,
                                             const MayMiss& may_miss, const std::string& where);

}  // namespace lora::peft

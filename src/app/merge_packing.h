#pragma once
#include <map>
#include <string>
#include <vector>

#include "app/merge_base.h"
#include "lora/quantization/quantize.h"

namespace lora::app {

/// How one weight of a result is packed.
struct MatrixPacking {
  quantization::QuantizationOptions options;
  at::ScalarType dtype = at::kFloat;  ///< to which its numbers are converted first
};

/// The weights of a result that are packed, by the names of the base's tensors; the others are plain.
using PackingPlan = std::map<std::string, MatrixPacking>;

/// The projections that loading would quantise. Experts stay plain, because bitsandbytes has no layer for them.
PackingPlan packing_as_loaded(const MergeBase& base, const models::QuantizationPlan& plan);

/// What is packed in the base's files, in the same way. Throws model Error for formats other than bitsandbytes', which cannot be written.
PackingPlan packing_of_files(const MergeBase& base);

/// How far packing has moved the changed weights of a result, and how far they were changed. For tensors with equal elements.
struct PackingError {
  int64_t matrices = 0;
  int64_t values = 0;
  double largest = 0, sum = 0;                ///< of |packed - merged|
  double update_largest = 0, update_sum = 0;  ///< of |merged - base|

  /// One line for people.
  std::string text() const;
};

/// A result that is ready to be written.
struct PackedResult {
  std::vector<io::TensorStream> streams;
  PackingError error;
  int64_t matrices = 0, values = 0, bytes = 0;  ///< of what is packed
  std::vector<std::string> plain_modules;       ///< those with a weight that is a matrix and not packed, as transformers names them

  double bits_per_value() const { return values == 0 ? 0 : 8.0 * static_cast<double>(bytes) / static_cast<double>(values); }
};

/// Packs the weights of `packing` one by one. Until they are written their scales are kept, not their codes, which are computed again then.
/// Gives the plan's tensors the model's names where those of the base's files only lack its prefix. Base and plan must live longer.
/// Throws model Error for values that are not finite.
PackedResult pack_result(const MergeBase& base, peft::MergePlan& plan, const PackingPlan& packing);

}  // namespace lora::app

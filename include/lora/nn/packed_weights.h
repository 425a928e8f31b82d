#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "lora/io/packed_matrix.h"
#include "lora/nn/model.h"

namespace lora::nn {

/// Which weights of a model are packed, and into how much memory.
struct PackedWeights {
  struct Count {
    int64_t matrices = 0;
    int64_t values = 0;
    int64_t bytes = 0;

    double bits_per_value() const { return values == 0 ? 0 : 8.0 * static_cast<double>(bytes) / static_cast<double>(values); }
  };
  std::map<std::string, Count> formats;  ///< by the name of the format
  std::vector<std::string> plain;        ///< names of the modules that are projections with a weight of plain numbers of their own
  int64_t experts = 0;                   ///< packed tensors of hosts that are no projections
  int64_t largest = 0;                   ///< values of the largest packed matrix

  bool empty() const { return formats.empty(); }
  Count total() const;
  /// "nf4 (14 matrices, 4.127 bits for each parameter)": equal for two loads of a model with the same packed weights, and in practice only
  /// then. Empty if nothing is packed.
  std::string text() const;
};

PackedWeights packed_weights(const Model& model);

/// The packed weights by their names in the checkpoint.
std::map<std::string, const io::PackedMatrix*> packed_matrices(const Model& model);

/// The largest decoded tile of a packed weight, which each thread that computes products keeps; 0 if nothing is packed.
int64_t packed_tile_bytes(const Model& model);

}  // namespace lora::nn

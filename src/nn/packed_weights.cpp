#include "lora/nn/packed_weights.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdio>

#include "lora/base/counted.h"
#include "lora/base/text.h"
#include "lora/ops/packed_weight.h"

namespace lora::nn {

namespace {

/// Null for a weight of another kind.
const ops::PackedWeight* as_packed(const BaseWeight& weight) {
  return dynamic_cast<const ops::PackedWeight*>(weight.matrix().get());
}

/// The packed weights of a host.
std::vector<const ops::PackedWeight*> packed_weights_of(const Host& host) {
  std::vector<const ops::PackedWeight*> packed;
  for (const BaseWeight& weight : host.weights()) {
    if (const auto* const found = as_packed(weight); found != nullptr && weight.owned()) {
      packed.push_back(found);
    }
  }
  return packed;
}

}  // namespace

PackedWeights::Count PackedWeights::total() const {
  Count sum;
  for (const auto& [format, count] : formats) {
    sum.matrices += count.matrices;
    sum.values += count.values;
    sum.bytes += count.bytes;
  }
  return sum;
}

std::string PackedWeights::text() const {
  std::vector<std::string> parts;
  for (const auto& [format, count] : formats) {
    char bits[32];
    std::snprintf(bits, sizeof(bits), "%.3f", count.bits_per_value());
    parts.push_back(format + " (" + counted(count.matrices, "matrix", "matrices") + ", " + bits + " bits for each parameter)");
  }
  return join(parts);
}

PackedWeights packed_weights(const Model& model) {
  PackedWeights found;
  for (const Host* host : model.hosts()) {
    const std::vector<const ops::PackedWeight*> packed = packed_weights_of(*host);
    for (const ops::PackedWeight* weight : packed) {
      PackedWeights::Count& count = found.formats[weight->matrix().format()];
      const int64_t values = weight->in_features() * weight->out_features();
      count.matrices += 1;
      count.values += values;
      count.bytes += weight->bytes();
      found.largest = std::max(found.largest, values);
    }
    const auto* const linear = dynamic_cast<const Linear*>(host);
    found.experts += linear == nullptr ? static_cast<int64_t>(packed.size()) : 0;
    if (packed.empty() && linear != nullptr && !linear->tied()) {
      found.plain.push_back(host->name());
    }
  }
  return found;
}

std::map<std::string, const io::PackedMatrix*> packed_matrices(const Model& model) {
  std::map<std::string, const io::PackedMatrix*> matrices;
  for (const Host* host : model.hosts()) {
    for (const BaseWeight& weight : host->weights()) {
      if (const auto* const packed = as_packed(weight)) {
        matrices.emplace(weight.parameter().name, &packed->matrix());
      }
    }
  }
  return matrices;
}

int64_t packed_tile_bytes(const Model& model) {
  int64_t most = 0;
  for (const Host* host : model.hosts()) {
    for (const ops::PackedWeight* weight : packed_weights_of(*host)) {
      most = std::max(most, weight->tile_bytes());
    }
  }
  return most;
}

}  // namespace lora::nn

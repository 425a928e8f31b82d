#pragma once
#include <memory>
#include <string>

#include "lora/nn/host.h"
#include "lora/nn/low_rank.h"
#include "lora/nn/token_rows.h"
#include "lora/ops/linear_weight.h"

namespace lora::nn {

using ops::WeightLayout;

/// A host with one weight matrix: a projection or an embedding, whose table is the matrix [channels, tokens]. Low-rank pairs can be
/// attached to it and, if its rows are tokens, replacement rows.
class MatrixHost : public Host {
 public:
  /// @param owned false if the weight belongs to another module: a tied head's.
  MatrixHost(const std::string& name, std::shared_ptr<const ops::LinearWeight> weight, bool owned = true)
      : Host(name), weight_(add_weight("weight", std::move(weight), owned)) {}

  bool takes_low_rank() const override { return true; }
  /// The base's matrix [O, I], whatever replaces it.
  const std::shared_ptr<const ops::LinearWeight>& matrix() const { return weight_.matrix(); }
  /// What the adapter in use computes with.
  std::shared_ptr<const ops::LinearWeight> matrix_in_use() const { return weight_.matrix_in_use(); }
  /// The layout of the weight in its file.
  WeightLayout layout() const { return matrix()->layout(); }
  /// Whether the weight belongs to another module (a tied head).
  bool tied() const { return !weight_.owned(); }

 protected:
  const BaseWeight& base_weight() const { return weight_; }

 private:
  BaseWeight& weight_;
};

}  // namespace lora::nn

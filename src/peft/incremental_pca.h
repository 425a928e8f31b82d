#pragma once
#include <ATen/core/Tensor.h>

namespace lora::peft {

using at::Tensor;

/// Principal components of rows that come in batches (Ross et al. 2008, "Incremental Learning for Robust Visual
/// Tracking"), equal to PEFT's IncrementalPCA with its randomised decomposition (lowrank, seed 42): the same random
/// numbers on the CPU, hence the same components with the same signs. N rows, D columns, C components.
class IncrementalPca {
 public:
  explicit IncrementalPca(int64_t num_components) : num_components_(num_components) {}

  /// @param rows_ND float32, at least C rows; C <= D.
  void add(const Tensor& rows_ND);

  bool has_components() const { return components_CD_.defined(); }
  const Tensor& components_CD() const { return components_CD_; }
  const Tensor& singular_values_C() const { return singular_values_C_; }
  /// The fraction of the variance of all rows so far that each component explains.
  const Tensor& explained_variance_ratio_C() const { return ratio_C_; }

 private:
  /// Mean and variance of each column over all rows so far, in float64 (Chan et al. 1982).
  struct Moments {
    Tensor mean_D;
    Tensor variance_D;
    int64_t count = 0;
  };
  Moments with(const Tensor& rows_ND) const;

  int64_t num_components_;
  Moments moments_;
  Tensor components_CD_;
  Tensor singular_values_C_;
  Tensor ratio_C_;
};

}  // namespace lora::peft

#pragma once
#include <optional>
#include <string>

#include "lora/io/weight_source.h"
#include "lora/nn/matrix_host.h"
#include "lora/nn/pass.h"
#include "lora/nn/pass_memory.h"
#include "lora/ops/conv2d.h"

namespace lora::nn {

struct Conv2dShape {
  int64_t in_channels;
  int64_t out_channels;
  int64_t kernel = 3;  ///< rows and columns
  ops::KernelSteps steps = {.stride = 1, .padding = 1};
  bool bias = true;
};

/// A convolution over images whose channels come last: torch.nn.Conv2d with one group and square kernels. Its weight is a matrix whose
/// rows are the kernels, so that low-rank pairs are those of a projection, in PEFT's shapes. A convolution of single pixels is computed as
/// a projection.
class Conv2d : public MatrixHost {
 public:
  /// Takes `name`.weight [out, in, kernel, kernel] and, with a bias, `name`.bias [out] from the source, converted to the dtype and device
  /// of `options`.
  Conv2d(const std::string& name, const Conv2dShape& shape, io::WeightSource& source, const at::TensorOptions& options);

  const char* kind() const override { return "Conv2d"; }

  /// x [N, H, W, in] → [N, H', W', out]. @param pass of the pixels of x: row_keys_T has one key for each of them.
  Tensor forward(const Tensor& x_NHWI, const Pass& pass) const;

  const Conv2dShape& shape() const { return shape_; }
  std::optional<Tensor> bias_in_use() const { return bias_ == nullptr ? std::nullopt : std::optional(bias_->current()); }
  /// What a pass keeps per pixel of x until backward. @param is_kept whether x is kept anyway.
  Kept kept(bool is_kept = false) const;

 private:
  bool is_of_pixels() const { return shape_.kernel == 1 && shape_.steps.stride == 1 && shape_.steps.padding == 0; }

  Conv2dShape shape_;
  BaseWeight* bias_ = nullptr;
  uint64_t name_key_;
};

}  // namespace lora::nn

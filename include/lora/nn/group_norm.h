#pragma once
#include <string>

#include "lora/io/weight_source.h"
#include "lora/nn/host.h"
#include "lora/nn/pass_memory.h"
#include "lora/ops/group_norm.h"

namespace lora::nn {

/// Group norm of images whose channels come last, with SiLU where that follows: ops::group_norm.
class GroupNorm : public Host {
 public:
  /// Takes `name`.weight [channels] and `name`.bias [channels] from the source.
  GroupNorm(const std::string& name, int64_t channels, const ops::GroupNormOptions& norm, io::WeightSource& source,
            const at::TensorOptions& options);

  const char* kind() const override { return "GroupNorm"; }
  /// x [N, ..., channels].
  Tensor forward(const Tensor& x) const;
  /// Per pixel; its statistics are two numbers per group of an image.
  Kept kept() const { return {channels_, 0}; }

 private:
  BaseWeight &weight_C_, &bias_C_;
  int64_t channels_;
  ops::GroupNormOptions norm_;
};

}  // namespace lora::nn

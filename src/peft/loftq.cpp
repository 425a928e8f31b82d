#include "peft/loftq.h"

#include <ATen/ATen.h>

#include "lora/base/interrupt.h"
#include "peft/low_rank_svd.h"

namespace lora::peft {

LowRankStart loftq_start(const nn::Linear& host, const Tensor& plain_OI, int64_t rank, double scale, uint64_t key) {
  throw_if_interrupted();  // a decomposition of a large weight takes seconds
  const at::NoGradGuard no_grad;
  const Tensor packed_OI = host.weight().to(at::kFloat);
  const Tensor error_OI = (plain_OI.to(packed_OI.device(), at::kFloat) - packed_OI).div_(scale);
  const Factors factors = factors_of_rank(leading_svd(error_OI, rank, key), rank);
  return {factors.A.contiguous(), factors.B.contiguous()};
}

}  // namespace lora::peft

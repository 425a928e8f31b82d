#include "diffusion/network_body.h"

#include <stdexcept>

#include "lora/base/error.h"
#include "lora/io/tensor_facts.h"

namespace lora::diffusion {

Tensor NetworkBody::hidden(const nn::Pass&) const {
  throw std::logic_error("this network predicts from latents: call Denoiser::predict");
}

void require_input(const std::string& what, const Tensor& tensor, const std::vector<int64_t>& expected) {
  if (!tensor.defined() || tensor.sizes() != expected) {
    model_error("transformer", "was given inputs of another model: found " + what + " " +
                                   (tensor.defined() ? io::shape_text(tensor.sizes()) : "missing") + ", expected " +
                                   io::shape_text(expected));
  }
}

int64_t size_or_zero(const Tensor& tensor, int64_t dim) {
  return tensor.defined() && dim < tensor.dim() ? tensor.size(dim) : 0;
}

}  // namespace lora::diffusion

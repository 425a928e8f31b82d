#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "lora/base/error.h"
#include "lora/nn/input_transform.h"
#include "lora/ops/lora_linear.h"
#include "peft/formula.h"
#include "peft/rotation.h"

namespace lora::peft {

namespace {

/// y = s ⊙ (W x') + b with x' = x · blockdiag(R): a rotation of the input and a factor for each output. The butterfly has one factor.
class BoftRotation : public nn::InputTransform {
 public:
  BoftRotation(const std::string& module, const PartTensors& tensors)
      : blocks_1NBB_(formula_part(tensors, module, "boft_R")), scale_O1_(formula_part(tensors, module, "boft_s")) {}

  std::vector<io::NamedTensor> tensors() const override { return {{"boft_R", blocks_1NBB_}, {"boft_s", scale_O1_}}; }
  Tensor transform(const Tensor& x_TI) const override {
    const Tensor blocks_NBB = blocks_1NBB_[0];
    return rotated(x_TI, cayley(0.5 * (blocks_NBB - blocks_NBB.transpose(1, 2))));
  }
  Tensor project(const nn::ProjectionCall& call, const Tensor& y_TO) const override {
    const at::ScalarType dtype = call.x_TI.scalar_type();
    const Tensor turned_TI = transform(call.x_TI.to(at::kFloat)).to(dtype);
    Tensor own_TO = ops::linear(turned_TI, call.weight, std::nullopt) * scale_O1_.flatten();
    if (y_TO.defined()) {
      return (y_TO + own_TO - ops::linear(call.x_TI, call.weight, std::nullopt)).to(dtype);
    }
    return (call.bias_O ? own_TO + *call.bias_O : own_TO).to(dtype);
  }
  Tensor merged_weight(const Tensor& W_OI) const override {
    const at::NoGradGuard no_grad;
    return InputTransform::merged_weight(W_OI) * scale_O1_;
  }
  nn::Kept kept(int64_t out_features) const override { return {out_features, 0}; }

 private:
  Tensor blocks_1NBB_, scale_O1_;
};

class Boft : public Formula {
 public:
  explicit Boft(BoftOptions options) : options_(std::move(options)) {}

  std::string name() const override { return "BOFT"; }
  std::vector<FormulaPart> parts(const ProjectionFacts& projection) const override {
    const bool is_by_size = options_.boft_block_num == 0;
    const int64_t given = is_by_size ? options_.boft_block_size : options_.boft_block_num;
    if (projection.inputs % given != 0) {
      config_error(is_by_size ? "adapter.boft_block_size" : "adapter.boft_block_num",
                   "found " + std::to_string(given) + ", expected a divisor of the inputs of " + projection.module + ", " +
                       std::to_string(projection.inputs));
    }
    const int64_t size = is_by_size ? given : projection.inputs / given;
    const FirstValues random = [](const Tensor& tensor, const at::Generator& generator) { tensor.normal_(0.0, 0.1, generator); };
    return {{"boft_R", {1, projection.inputs / size, size, size}, options_.init_weights ? constant(0) : random},
            {"boft_s", {projection.outputs, 1}, options_.init_weights ? constant(1) : random}};
  }
  std::shared_ptr<const nn::ProjectionChange> change(const std::string& module, const PartTensors& tensors) const override {
    return std::make_shared<const BoftRotation>(module, tensors);
  }

 private:
  BoftOptions options_;
};

}  // namespace

std::unique_ptr<Formula> formula_of(const BoftOptions& options) {
  return std::make_unique<Boft>(options);
}

}  // namespace lora::peft

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>

#include "lora/nn/weight_delta.h"
#include "peft/formula.h"
#include "peft/shared_tensors.h"

namespace lora::peft {

namespace {

/// ΔW = diag(b) B diag(d) A with A and B random, fixed and cut out of a pair that fits the widest projection. R rank.
class VeraDelta : public nn::WeightDelta {
 public:
  VeraDelta(const std::string& module, const PartTensors& tensors, Tensor A_RM, Tensor B_MR, double dropout)
      : WeightDelta(dropout),
        lambda_b_O_(formula_part(tensors, module, "vera_lambda_b")),
        lambda_d_R_(formula_part(tensors, module, "vera_lambda_d")),
        A_RM_(std::move(A_RM)),
        B_MR_(std::move(B_MR)) {}

  std::vector<io::NamedTensor> tensors() const override { return {{"vera_lambda_b", lambda_b_O_}, {"vera_lambda_d", lambda_d_R_}}; }
  Tensor delta(const ops::LinearWeight& weight) const override {
    return (lambda_b_O_.unsqueeze(1) * B(weight)).mm(lambda_d_R_.unsqueeze(1) * A(weight));
  }
  Tensor multiply(const Tensor& x_TI, const ops::LinearWeight& weight) const override {
    return lambda_b_O_ * at::linear(lambda_d_R_ * at::linear(x_TI, A(weight)), B(weight));
  }

 private:
  Tensor A(const ops::LinearWeight& weight) const { return A_RM_.slice(1, 0, weight.in_features()); }
  Tensor B(const ops::LinearWeight& weight) const { return B_MR_.slice(0, 0, weight.out_features()); }

  Tensor lambda_b_O_, lambda_d_R_;
  Tensor A_RM_, B_MR_;
};

class Vera : public Formula {
 public:
  explicit Vera(VeraOptions options) : options_(std::move(options)) {}

  std::string name() const override { return "VeRA"; }
  bool takes_conv1d() const override { return true; }
  std::vector<FormulaPart> parts(const ProjectionFacts& projection) const override {
    require_covers(A_RM_, "vera_A", projection, {options_.r, projection.inputs}, 0);
    require_covers(B_MR_, "vera_B", projection, {projection.outputs, options_.r}, 1);
    return {{"vera_lambda_b", {projection.outputs}, constant(0)}, {"vera_lambda_d", {options_.r}, constant(options_.d_initial)}};
  }
  std::shared_ptr<const nn::ProjectionChange> change(const std::string& module, const PartTensors& tensors) const override {
    return std::make_shared<const VeraDelta>(module, tensors, A_RM_, B_MR_, options_.vera_dropout);
  }

  /// From one generator, so that PEFT draws the same numbers: first A, then B, Kaiming-uniform with a = 0.
  void create_shared(const std::vector<ProjectionFacts>& all) override {
    const auto [inputs, outputs] = widest(all);
    const at::Generator generator = at::detail::createCPUGenerator(static_cast<uint64_t>(options_.projection_prng_key));
    const auto drawn = [&generator](int64_t rows, int64_t columns) {
      const double bound = std::sqrt(3.0) * (std::sqrt(2.0) / std::sqrt(static_cast<double>(columns)));
      return at::empty({rows, columns}, at::kFloat).uniform_(-bound, bound, generator);
    };
    A_RM_ = drawn(options_.r, inputs);
    B_MR_ = drawn(outputs, options_.r);
  }
  void take_shared(const PartTensors& stored) override {
    A_RM_ = shared_tensor(stored, "vera_A", 2);
    B_MR_ = shared_tensor(stored, "vera_B", 2);
  }
  void move_shared(at::Device device) override {
    A_RM_ = A_RM_.to(device);
    B_MR_ = B_MR_.to(device);
  }
  std::vector<io::NamedTensor> shared() const override {
    return options_.save_projection ? std::vector<io::NamedTensor>{{"vera_A", A_RM_}, {"vera_B", B_MR_}} : std::vector<io::NamedTensor>();
  }

 private:
  VeraOptions options_;
  Tensor A_RM_, B_MR_;
};

}  // namespace

std::unique_ptr<Formula> formula_of(const VeraOptions& options) {
  return std::make_unique<Vera>(options);
}

}  // namespace lora::peft

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>

#include "lora/nn/weight_delta.h"
#include "peft/formula.h"
#include "peft/shared_tensors.h"

namespace lora::peft {

namespace {

/// ΔW = scale · U V, or its transpose for a weight with fewer outputs than inputs. U holds N random bases of rank R side by side, V the
/// same random rows under learned factors: lambda [R, N] of the rows, gamma [N, M] of the columns. M is the smaller side of W, X the
/// larger.
class RandLoraDelta : public nn::WeightDelta {
 public:
  RandLoraDelta(const std::string& module, const PartTensors& tensors, Tensor A_R1M, Tensor B_XNR, double scale, double dropout)
      : WeightDelta(dropout),
        lambda_RN_(formula_part(tensors, module, "randlora_lambda")),
        gamma_NM_(formula_part(tensors, module, "randlora_gamma")),
        A_R1M_(std::move(A_R1M)),
        B_XNR_(std::move(B_XNR)),
        scale_(scale) {}

  std::vector<io::NamedTensor> tensors() const override { return {{"randlora_lambda", lambda_RN_}, {"randlora_gamma", gamma_NM_}}; }
  Tensor delta(const ops::LinearWeight& weight) const override {
    const Tensor product = larger(weight).mm(smaller(weight)) * scale_;
    return is_turned(weight) ? product.t() : product;
  }
  Tensor multiply(const Tensor& x_TI, const ops::LinearWeight& weight) const override {
    const Tensor U = larger(weight), V = smaller(weight);
    return (is_turned(weight) ? x_TI.mm(U).mm(V) : at::linear(at::linear(x_TI, V), U)) * scale_;
  }

 private:
  static int64_t smaller_side(const ops::LinearWeight& weight) { return std::min(weight.in_features(), weight.out_features()); }
  static bool is_turned(const ops::LinearWeight& weight) { return weight.out_features() < weight.in_features(); }
  /// [X, N · R], flattened base by base.
  Tensor larger(const ops::LinearWeight& weight) const {
    const int64_t side = std::max(weight.in_features(), weight.out_features());
    return B_XNR_.slice(0, 0, side).slice(1, 0, lambda_RN_.size(1)).flatten(1);
  }
  /// [R · N, M], flattened rank by rank: not in the order of larger(), but so in PEFT.
  Tensor smaller(const ops::LinearWeight& weight) const {
    return (lambda_RN_.unsqueeze(2) * A_R1M_.slice(2, 0, smaller_side(weight)) * gamma_NM_).flatten(0, 1);
  }

  Tensor lambda_RN_, gamma_NM_;
  Tensor A_R1M_, B_XNR_;
  double scale_;
};

int64_t bases_of(int64_t smaller_side, int64_t rank) {
  return (smaller_side + rank - 1) / rank;
}

class RandLora : public Formula {
 public:
  explicit RandLora(RandLoraOptions options) : options_(std::move(options)) {}

  std::string name() const override { return "RandLoRA"; }
  bool takes_conv1d() const override { return true; }
  std::vector<FormulaPart> parts(const ProjectionFacts& projection) const override {
    const int64_t smaller = std::min(projection.inputs, projection.outputs);
    const int64_t bases = bases_of(smaller, options_.r);
    require_covers(A_R1M_, "randlora_A", projection, {options_.r, 1, smaller}, 0);
    require_covers(B_XNR_, "randlora_B", projection, {std::max(projection.inputs, projection.outputs), bases, options_.r}, 2);
    return {{"randlora_lambda", {options_.r, bases}, constant(0)},
            {"randlora_gamma", {bases, smaller}, constant(1.0 / static_cast<double>(std::max(bases, smaller)))}};
  }
  std::shared_ptr<const nn::ProjectionChange> change(const std::string& module, const PartTensors& tensors) const override {
    const double scale = options_.randlora_alpha / static_cast<double>(options_.r);
    return std::make_shared<const RandLoraDelta>(module, tensors, A_R1M_, B_XNR_, scale, options_.randlora_dropout);
  }

  /// As PEFT draws them: in bfloat16 from one generator, A and then B base by base, each divided by its deviation.
  void create_shared(const std::vector<ProjectionFacts>& all) override {
    const auto [inputs, outputs] = widest(all);
    const int64_t smaller = std::min(inputs, outputs), larger = std::max(inputs, outputs);
    const at::Generator generator = at::detail::createCPUGenerator(static_cast<uint64_t>(options_.projection_prng_key));
    const auto drawn = [&generator](at::IntArrayRef shape) {
      const Tensor tensor = at::empty(shape, at::kBFloat16);
      kaiming()(tensor, generator);
      return tensor;
    };
    const Tensor A = drawn({options_.r, 1, smaller});
    std::vector<Tensor> bases;
    for (int64_t base = 0; base < bases_of(smaller, options_.r); ++base) {
      bases.push_back(drawn({larger, 1, options_.r}));
    }
    const Tensor B = at::cat(bases, 1);
    A_R1M_ = (A / A.std()).to(at::kFloat);
    B_XNR_ = (B / B.std()).to(at::kFloat);
  }
  void take_shared(const PartTensors& stored) override {
    A_R1M_ = shared_tensor(stored, "randlora_A", 3);
    B_XNR_ = shared_tensor(stored, "randlora_B", 3);
  }
  void move_shared(at::Device device) override {
    A_R1M_ = A_R1M_.to(device);
    B_XNR_ = B_XNR_.to(device);
  }
  std::vector<io::NamedTensor> shared() const override {
    return options_.save_projection ? std::vector<io::NamedTensor>{{"randlora_A", A_R1M_}, {"randlora_B", B_XNR_}}
                                    : std::vector<io::NamedTensor>();
  }

 private:
  RandLoraOptions options_;
  Tensor A_R1M_, B_XNR_;
};

}  // namespace

std::unique_ptr<Formula> formula_of(const RandLoraOptions& options) {
  return std::make_unique<RandLora>(options);
}

}  // namespace lora::peft

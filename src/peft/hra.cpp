#include <ATen/ATen.h>

#include "lora/base/log.h"
#include "lora/nn/input_transform.h"
#include "peft/formula.h"

namespace lora::peft {

namespace {

const char* const kDirections = "hra_u";

/// W' = W H₁ … Hᵣ with the reflections H = I - 2 u uᵀ / |u|², so that x' = x Hᵣ … H₁. R reflections.
class HouseholderReflections : public nn::InputTransform {
 public:
  HouseholderReflections(Tensor directions_IR, bool orthonormalises)
      : directions_IR_(std::move(directions_IR)), orthonormalises_(orthonormalises) {}

  std::vector<io::NamedTensor> tensors() const override { return {{kDirections, directions_IR_}}; }

  /// H₁ … Hᵣ = I - U S Uᵀ, where S⁻¹ is upper triangular with the inner products of the directions and ½ on the diagonal (the compact WY
  /// form, Schreiber and Van Loan 1989): x' costs two products with U, and backward keeps R numbers for a token.
  Tensor transform(const Tensor& x_TI) const override {
    if (orthonormalises_) {
      const Tensor basis_IR = gram_schmidt();
      return x_TI - 2 * x_TI.mm(basis_IR).mm(basis_IR.t());
    }
    const Tensor U_IR = directions_IR_ / at::linalg_vector_norm(directions_IR_, 2, {0});
    const Tensor inverse_RR = at::triu(U_IR.t().mm(U_IR), 1) + 0.5 * at::eye(U_IR.size(1), U_IR.options());
    const Tensor parts_TR = at::linalg_solve_triangular(inverse_RR, x_TI.mm(U_IR).t(), /*upper=*/true, /*left=*/true).t();
    return x_TI - parts_TR.mm(U_IR.t());
  }
  nn::Kept kept(int64_t) const override { return {0, 2 * directions_IR_.size(1)}; }

 private:
  /// Each direction without its parts along those before it, as PEFT computes it (apply_GS).
  Tensor gram_schmidt() const {
    std::vector<Tensor> basis;
    for (int64_t i = 0; i < directions_IR_.size(1); ++i) {
      Tensor direction_I = directions_IR_.select(1, i);
      for (const Tensor& before_I : basis) {
        direction_I = direction_I - before_I.dot(direction_I) * before_I;
      }
      basis.push_back(direction_I / at::linalg_vector_norm(direction_I));
    }
    return at::stack(basis, 1);
  }

  Tensor directions_IR_;
  bool orthonormalises_;
};

class Hra : public Formula {
 public:
  explicit Hra(HraOptions options) : options_(std::move(options)) {}

  std::string name() const override { return "HRA"; }
  void warn_of_start() const override {
    if (options_.init_weights && options_.apply_GS) {
      log::warn("[adapter.apply_GS] the adapter does not start as the unchanged model: directions that cancel in pairs cannot be "
                "orthonormalised. PEFT starts from their rounding errors.");
    } else if (options_.init_weights && options_.r % 2 != 0) {
      log::warn("[adapter.r] found " + std::to_string(options_.r) +
                ": with an odd number of reflections the adapter does not start as the unchanged model, as in PEFT. Choose an even one.");
    }
  }
  std::vector<FormulaPart> parts(const ProjectionFacts& projection) const override {
    const bool cancels = options_.init_weights && options_.r % 2 == 0 && !options_.apply_GS;
    return {{kDirections, {projection.inputs, options_.r}, cancels ? FirstValues(pairs) : kaiming()}};
  }
  std::shared_ptr<const nn::ProjectionChange> change(const std::string& module, const PartTensors& tensors) const override {
    return std::make_shared<const HouseholderReflections>(formula_part(tensors, module, kDirections), options_.apply_GS);
  }

 private:
  /// Each direction twice, so that the reflections cancel.
  static void pairs(const Tensor& directions_IR, const at::Generator& generator) {
    const Tensor half = at::empty({directions_IR.size(0), directions_IR.size(1) / 2}, directions_IR.options());
    kaiming()(half, generator);
    directions_IR.copy_(half.repeat_interleave(2, 1));
  }

  HraOptions options_;
};

}  // namespace

std::unique_ptr<Formula> formula_of(const HraOptions& options) {
  return std::make_unique<Hra>(options);
}

}  // namespace lora::peft

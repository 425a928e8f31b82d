#include <ATen/ATen.h>

#include <set>

#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/nn/input_transform.h"
#include "peft/formula.h"
#include "peft/rotation.h"

namespace lora::peft {

namespace {

const char* const kBlocks = "oft_R.weight";

/// x' = x · blockdiag(R), where R is computed from the upper triangle of a skew-symmetric matrix. N blocks (one if they are shared),
/// B inputs of a block.
class OftRotation : public nn::InputTransform {
 public:
  OftRotation(Tensor triangles_N, OftOptions options) : triangles_N_(std::move(triangles_N)), options_(std::move(options)) {}

  std::vector<io::NamedTensor> tensors() const override { return {{kBlocks, triangles_N_}}; }
  Tensor transform(const Tensor& x_TI) const override {
    const Tensor Q_NBB = skew_symmetric(triangles_N_);
    return rotated(x_TI, options_.use_cayley_neumann ? neumann(Q_NBB) : cayley(Q_NBB));
  }

 private:
  /// The first terms of (I + Q)(I - Q)⁻¹ = I + 2Q + 2Q² + …, the last one without its factor 2, as in PEFT.
  Tensor neumann(const Tensor& Q_NBB) const {
    const int64_t terms = options_.num_cayley_neumann_terms;
    Tensor sum = at::eye(Q_NBB.size(1), Q_NBB.options()).expand_as(Q_NBB);
    if (terms > 1) {
      sum = sum + 2 * Q_NBB;
    }
    if (terms > 2) {
      Tensor power = Q_NBB.bmm(Q_NBB);
      sum = sum + 2 * power;
      for (int64_t term = 3; term < terms - 1; ++term) {
        power = power.bmm(Q_NBB);
        sum = sum + 2 * power;
      }
      sum = sum + power.bmm(Q_NBB);
    }
    return sum;
  }

  Tensor triangles_N_;
  OftOptions options_;
};

class Oft : public Formula {
 public:
  explicit Oft(OftOptions options) : options_(std::move(options)) {}

  std::string name() const override { return "OFT"; }
  /// PEFT refuses files without a version as older than this layout.
  void complete(nlohmann::json& config) const override {
    config["r"] = options_.r;
    config["oft_block_size"] = options_.oft_block_size;
    config["use_cayley_neumann"] = options_.use_cayley_neumann;
    config["peft_version"] = "0.21.2";
  }
  std::vector<FormulaPart> parts(const ProjectionFacts& projection) const override {
    const bool is_by_size = options_.r == 0;
    const int64_t given = is_by_size ? options_.oft_block_size : options_.r;
    const int64_t fitting = divisor_next_to(given, projection.inputs);
    if (fitting != given && warned_inputs_.insert(projection.inputs).second) {
      log::warn(std::string("[adapter.") + (is_by_size ? "oft_block_size" : "r") + "] " + std::to_string(given) +
                " does not divide " + std::to_string(projection.inputs) + ", the inputs of modules such as " + projection.module +
                ": using " + std::to_string(fitting) + " there, as PEFT does");
    }
    const int64_t size = is_by_size ? fitting : projection.inputs / fitting;
    const int64_t blocks = options_.block_share ? 1 : projection.inputs / size;
    return {{kBlocks, {blocks, size * (size - 1) / 2}, options_.init_weights ? constant(0) : kaiming()}};
  }
  std::shared_ptr<const nn::ProjectionChange> change(const std::string& module, const PartTensors& tensors) const override {
    return std::make_shared<const OftRotation>(formula_part(tensors, module, kBlocks), options_);
  }

 private:
  OftOptions options_;
  mutable std::set<int64_t> warned_inputs_ = {};  ///< sizes that were warned of: modules of one size get one warning
};

}  // namespace

std::unique_ptr<Formula> formula_of(const OftOptions& options) {
  return std::make_unique<Oft>(options);
}

}  // namespace lora::peft

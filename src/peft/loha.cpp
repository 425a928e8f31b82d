#include <ATen/ATen.h>

#include "lora/nn/weight_delta.h"
#include "peft/formula.h"
#include "peft/targets.h"

namespace lora::peft {

namespace {

/// ΔW = scale · (w1_a w1_b) ⊙ (w2_a w2_b). R rank.
class HadamardDelta : public nn::WeightDelta {
 public:
  HadamardDelta(const std::string& module, const PartTensors& tensors, double scale)
      : w1_a_OR_(formula_part(tensors, module, "hada_w1_a")),
        w1_b_RI_(formula_part(tensors, module, "hada_w1_b")),
        w2_a_OR_(formula_part(tensors, module, "hada_w2_a")),
        w2_b_RI_(formula_part(tensors, module, "hada_w2_b")),
        scale_(scale) {}

  std::vector<io::NamedTensor> tensors() const override {
    return {{"hada_w1_a", w1_a_OR_}, {"hada_w1_b", w1_b_RI_}, {"hada_w2_a", w2_a_OR_}, {"hada_w2_b", w2_b_RI_}};
  }
  Tensor delta(const ops::LinearWeight&) const override { return w1_a_OR_.mm(w1_b_RI_) * w2_a_OR_.mm(w2_b_RI_) * scale_; }

 private:
  Tensor w1_a_OR_, w1_b_RI_, w2_a_OR_, w2_b_RI_;
  double scale_;
};

class Loha : public Formula {
 public:
  explicit Loha(LohaOptions options) : options_(std::move(options)) {}

  std::string name() const override { return "LoHa"; }
  std::vector<FormulaPart> parts(const ProjectionFacts& projection) const override {
    const int64_t rank = pattern_value(options_.rank_pattern, projection.module, options_.r, "adapter.rank_pattern");
    return {{"hada_w1_a", {projection.outputs, rank}, kaiming()},
            {"hada_w1_b", {rank, projection.inputs}, kaiming()},
            {"hada_w2_a", {projection.outputs, rank}, kaiming()},
            {"hada_w2_b", {rank, projection.inputs}, options_.init_weights ? constant(0) : kaiming()}};
  }
  std::shared_ptr<const nn::ProjectionChange> change(const std::string& module, const PartTensors& tensors) const override {
    const int64_t rank = pattern_value(options_.rank_pattern, module, options_.r, "adapter.rank_pattern");
    const double alpha = pattern_value(options_.alpha_pattern, module, options_.alpha, "adapter.alpha_pattern");
    return std::make_shared<const HadamardDelta>(module, tensors, alpha / static_cast<double>(rank));
  }

 private:
  LohaOptions options_;
};

}  // namespace

std::unique_ptr<Formula> formula_of(const LohaOptions& options) {
  return std::make_unique<Loha>(options);
}

}  // namespace lora::peft

#include <ATen/ATen.h>

#include <utility>

#include "lora/nn/weight_delta.h"
#include "peft/formula.h"
#include "peft/targets.h"

namespace lora::peft {

namespace {

/// Two divisors of a dimension, the smaller first unless `factor` divides it and is the larger (PEFT's factorization()).
std::pair<int64_t, int64_t> divisors_of(int64_t dimension, int64_t factor) {
  if (factor > 0 && dimension % factor == 0) {
    return {factor, dimension / factor};
  }
  const int64_t largest = factor == -1 ? dimension : factor;
  int64_t small = 1, large = dimension;
  const int64_t first_sum = small + large;
  while (small < large) {
    int64_t next = small + 1;
    while (dimension % next != 0) {
      ++next;
    }
    if (next + dimension / next > first_sum || next > largest) {
      break;
    }
    small = next;
    large = dimension / next;
  }
  return std::minmax(small, large);
}

/// ΔW = scale · w1 ⊗ w2, each given or a product of two.
class KroneckerDelta : public nn::WeightDelta {
 public:
  KroneckerDelta(PartTensors tensors, double scale) : tensors_(std::move(tensors)), scale_(scale) {}

  std::vector<io::NamedTensor> tensors() const override {
    std::vector<io::NamedTensor> all;
    for (const auto& [name, tensor] : tensors_) {
      all.push_back({name, tensor});
    }
    return all;
  }
  Tensor delta(const ops::LinearWeight&) const override { return at::kron(factor("lokr_w1"), factor("lokr_w2").contiguous()) * scale_; }
  /// Two small products: with x as [T, columns of w1, columns of w2], w1 x w2ᵀ for each token.
  Tensor multiply(const Tensor& x_TI, const ops::LinearWeight&) const override {
    const Tensor w1 = factor("lokr_w1"), w2 = factor("lokr_w2");
    const Tensor x = x_TI.reshape({x_TI.size(0), w1.size(1), w2.size(1)});
    return at::matmul(w1 * scale_, at::linear(x, w2)).flatten(1);
  }

 private:
  Tensor factor(const std::string& name) const {
    const auto whole = tensors_.find(name);
    return whole != tensors_.end() ? whole->second : tensors_.at(name + "_a").mm(tensors_.at(name + "_b"));
  }

  PartTensors tensors_;
  double scale_;
};

class Lokr : public Formula {
 public:
  explicit Lokr(LokrOptions options) : options_(std::move(options)) {}

  std::string name() const override { return "LoKr"; }
  std::vector<FormulaPart> parts(const ProjectionFacts& projection) const override {
    const int64_t rank = rank_of(projection.module);
    const auto [rows_1, rows_2] = divisors_of(projection.outputs, options_.decompose_factor);
    const auto [columns_1, columns_2] = divisors_of(projection.inputs, options_.decompose_factor);
    const bool is_first_product = options_.decompose_both && 2 * rank < std::max(rows_1, columns_1);
    const bool is_second_product = 2 * rank < std::max(rows_2, columns_2);
    const FirstValues first = options_.init == LokrInit::kDefault ? constant(0) : kaiming();
    const FirstValues second = options_.init == LokrInit::kLycoris ? constant(0) : kaiming();
    std::vector<FormulaPart> parts;
    if (is_first_product) {
      parts = {{"lokr_w1_a", {rows_1, rank}, first}, {"lokr_w1_b", {rank, columns_1}, kaiming()}};
    } else {
      parts = {{"lokr_w1", {rows_1, columns_1}, first}};
    }
    if (is_second_product) {
      parts.push_back({"lokr_w2_a", {rows_2, rank}, kaiming()});
      parts.push_back({"lokr_w2_b", {rank, columns_2}, second});
    } else {
      parts.push_back({"lokr_w2", {rows_2, columns_2}, second});
    }
    return parts;
  }
  std::shared_ptr<const nn::ProjectionChange> change(const std::string& module, const PartTensors& tensors) const override {
    const double alpha = pattern_value(options_.alpha_pattern, module, options_.alpha, "adapter.alpha_pattern");
    return std::make_shared<const KroneckerDelta>(tensors, alpha / static_cast<double>(rank_of(module)));
  }

 private:
  int64_t rank_of(const std::string& module) const {
    return pattern_value(options_.rank_pattern, module, options_.r, "adapter.rank_pattern");
  }

  LokrOptions options_;
};

}  // namespace

std::unique_ptr<Formula> formula_of(const LokrOptions& options) {
  return std::make_unique<Lokr>(options);
}

}  // namespace lora::peft

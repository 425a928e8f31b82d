#include <ATen/ATen.h>

#include "lora/base/error.h"
#include "lora/nn/weight_delta.h"
#include "peft/formula.h"

namespace lora::peft {

namespace {

const char* const kBlock = "miss_block";

/// ΔW[o, i] = block[i mod R, o]: the sum of the parts of x, of R inputs each, times the block. A block narrower than the outputs ("mini")
/// repeats along them.
class BlockDelta : public nn::WeightDelta {
 public:
  BlockDelta(Tensor block, double dropout) : WeightDelta(dropout), block_(std::move(block)) {}

  std::vector<io::NamedTensor> tensors() const override { return {{kBlock, block_}}; }
  Tensor delta(const ops::LinearWeight& weight) const override {
    const int64_t inputs = weight.in_features(), rank = block_.size(0);
    return whole_block_RO(weight).t().repeat({1, (inputs + rank - 1) / rank}).slice(1, 0, inputs);
  }
  Tensor multiply(const Tensor& x_TI, const ops::LinearWeight& weight) const override {
    const int64_t rank = block_.size(0);
    const int64_t surplus = x_TI.size(1) % rank;
    const Tensor padded = surplus == 0 ? x_TI : at::constant_pad_nd(x_TI, {0, rank - surplus});
    return padded.view({x_TI.size(0), -1, rank}).sum(1).mm(whole_block_RO(weight));
  }

 private:
  Tensor whole_block_RO(const ops::LinearWeight& weight) const {
    const int64_t times = weight.out_features() / block_.size(1);
    return times == 1 ? block_ : block_.repeat({1, times});
  }

  Tensor block_;
};

/// ΔW = W_g B + B in blocks of R × R (init_weights "bat"): a formula over the weight itself, which is decoded if it is packed.
class BatDelta : public nn::WeightDelta {
 public:
  explicit BatDelta(Tensor blocks) : blocks_(std::move(blocks)) {}

  std::vector<io::NamedTensor> tensors() const override { return {{kBlock, blocks_}}; }
  Tensor delta(const ops::LinearWeight& weight) const override {
    const int64_t rank = blocks_.size(2), outputs = weight.out_features(), inputs = weight.in_features();
    const Tensor grid = weight.dequantised().to(at::kFloat).reshape({outputs / rank, rank, inputs / rank, rank}).permute({2, 0, 1, 3});
    return (grid.matmul(blocks_) + blocks_).permute({1, 2, 0, 3}).reshape({outputs, inputs});
  }

 private:
  Tensor blocks_;
};

class Miss : public Formula {
 public:
  explicit Miss(MissOptions options) : options_(std::move(options)) {}

  std::string name() const override { return "MiSS"; }
  std::vector<FormulaPart> parts(const ProjectionFacts& projection) const override {
    const int64_t rank = options_.r;
    const FirstValues start = options_.kind == MissKind::kRandom ? kaiming() : constant(0);
    if (options_.kind == MissKind::kBat) {
      require_divides("adapter.r", rank, projection.inputs, "inputs", projection.module);
      require_divides("adapter.r", rank, projection.outputs, "outputs", projection.module);
      return {{kBlock, {projection.outputs / rank, rank, rank}, start}};
    }
    if (options_.kind == MissKind::kMini) {
      require_divides("adapter.mini_r", options_.mini_r, projection.outputs, "outputs", projection.module);
      return {{kBlock, {rank, options_.mini_r}, start}};
    }
    return {{kBlock, {rank, projection.outputs}, start}};
  }
  std::shared_ptr<const nn::ProjectionChange> change(const std::string& module, const PartTensors& tensors) const override {
    if (options_.kind == MissKind::kBat) {
      return std::make_shared<const BatDelta>(formula_part(tensors, module, kBlock));
    }
    return std::make_shared<const BlockDelta>(formula_part(tensors, module, kBlock), options_.miss_dropout);
  }

 private:
  static void require_divides(const char* key, int64_t divisor, int64_t dimension, const std::string& what, const std::string& module) {
    if (dimension % divisor != 0) {
      config_error(key, "found " + std::to_string(divisor) + ", expected a divisor of the " + what + " of " + module + ", " +
                            std::to_string(dimension));
    }
  }

  MissOptions options_;
};

}  // namespace

std::unique_ptr<Formula> formula_of(const MissOptions& options) {
  return std::make_unique<Miss>(options);
}

}  // namespace lora::peft

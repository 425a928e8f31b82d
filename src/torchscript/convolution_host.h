#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lora/nn/matrix_host.h"
#include "lora/nn/pass.h"

namespace lora::torchscript {

/// How kernels move over the places of a tensor [N, C, places...], one number per axis of places (or one for all of them).
struct KernelMoves {
  std::vector<int64_t> stride, padding, dilation;
};

/// A convolution with one group: torch.nn.Conv1d, Conv2d or Conv3d. Pairs are PEFT's: A is a convolution that moves as the base does,
/// [R, I, kernel...], and B one of single places, [O, R, 1...].
class ConvolutionHost : public nn::MatrixHost {
 public:
  /// @param weight [O, I, kernel...]. @param bias [O], or undefined.
  ConvolutionHost(const std::string& name, const at::Tensor& weight, const at::Tensor& bias);

  const char* kind() const override;
  std::optional<at::Tensor> bias_in_use() const { return bias_ == nullptr ? std::nullopt : std::optional(bias_->current()); }

  /// x [N, I, places...] → [N, O, places...]. @param bias in use. @param pass with a row key for each place of x, if anything is dropped.
  at::Tensor forward(const at::Tensor& x, const std::optional<at::Tensor>& bias, const KernelMoves& moves, const nn::Pass& pass) const;

 protected:
  /// Throws config Error for another kind than a pair, and for DoRA with dropout.
  void add(std::unique_ptr<nn::Attachment> attachment) override;

 private:
  nn::BaseWeight* bias_ = nullptr;
  uint64_t name_key_;
};

}  // namespace lora::torchscript

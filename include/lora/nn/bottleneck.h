#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lora/base/enum_table.h"
#include "lora/nn/attachment.h"
#include "lora/nn/dropout.h"

namespace lora::nn {

/// The activations of a bottleneck, under the names that the adapters library takes (transformers' and "leakyrelu").
enum class BottleneckActivation { kRelu, kSilu, kGelu, kGeluTanh, kLeakyRelu, kTanh };
inline constexpr EnumTable<BottleneckActivation, 8> kBottleneckActivations{{{{BottleneckActivation::kRelu, "relu"},
                                                                             {BottleneckActivation::kSilu, "swish"},
                                                                             {BottleneckActivation::kSilu, "silu"},
                                                                             {BottleneckActivation::kGelu, "gelu"},
                                                                             {BottleneckActivation::kGeluTanh, "gelu_new"},
                                                                             {BottleneckActivation::kGeluTanh, "gelu_pytorch_tanh"},
                                                                             {BottleneckActivation::kLeakyRelu, "leakyrelu"},
                                                                             {BottleneckActivation::kTanh, "tanh"}}}};

/// What a bottleneck's own skip connection starts from (the library's residual_before_ln).
enum class BottleneckResidual {
  kBlock,   ///< true: the block's output
  kNormed,  ///< false: the bottleneck's input
  kSum,     ///< "post_add": the sum with the stream, before the layer's norm
};

/// Where a bottleneck is in its layer, and how it computes: keys of the adapters library's BnConfig.
struct BottleneckForm {
  bool is_parallel = false;         ///< it reads the stream before the block, and its result is added to the block's
  bool original_ln_before = false;  ///< it reads the stream after the block, with the layer's norm of the sum if there is one
  bool original_ln_after = true;    ///< the sum and the layer's norm of it follow
  BottleneckResidual residual = BottleneckResidual::kBlock;
  bool adapter_residual_before_ln = false;  ///< its skip connection is added before its own last norm
  BottleneckActivation activation = BottleneckActivation::kRelu;
  double scaling = 1.0;  ///< of its output, if that is not trained
  double dropout = 0.0;  ///< of its scaled output
};

/// The weight and bias of a norm of a bottleneck's own, torch.nn.LayerNorm.
struct BottleneckNorm {
  Tensor weight_D;
  Tensor bias_D;
};

/// A bottleneck adapter: a(h) = s · (up f(down h + b) + c) at the end of a block, in one of the forms of the adapters library (Houlsby et
/// al. 2019, Pfeiffer et al. 2020, He et al. 2021). D channels, B of the bottleneck.
struct Bottleneck : Attachment {
  Bottleneck(std::string adapter, const std::string& name, const BottleneckForm& form)
      : Attachment(std::move(adapter)), form(form), dropout(name, form.dropout) {}

  std::vector<Tensor> tensors() const override;
  Kept kept(int64_t channels) const override;
  Tensor tap(const BlockOutput& output, const Pass& pass) const override;
  bool replaces_sum() const override { return !form.original_ln_after; }

  BottleneckForm form;
  Dropout dropout;
  Tensor down_BD, down_bias_B, up_DB, up_bias_D;
  std::optional<BottleneckNorm> norm_before, norm_after;
  std::optional<Tensor> scaling;  ///< trained: [1] or [D]

 private:
  /// a(h), without a skip connection.
  Tensor bottleneck(const Tensor& h_TD, const Pass& pass) const;
  /// What it reads and what its skip connection adds, of a bottleneck that is not parallel.
  std::pair<Tensor, Tensor> input_and_residual(const BlockOutput& output) const;
};

}  // namespace lora::nn

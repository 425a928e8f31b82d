#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lora/nn/pass_memory.h"
#include "lora/ops/conv2d.h"
#include "lora/ops/linear_weight.h"

namespace lora::nn {

using at::Tensor;

struct LowRank;
class Norm;
struct Pass;

/// A projection in one pass, as the attachments of its host see it. T tokens, I inputs, O outputs.
struct ProjectionCall {
  const Tensor& x_TI;
  const Pass& pass;
  uint64_t host_key;                                ///< hash of the host's name, for random numbers
  std::shared_ptr<const ops::LinearWeight> weight;  ///< in use
  std::optional<Tensor> bias_O;                     ///< in use

  /// x Wᵀ + b: what the host gives without attachments.
  Tensor base() const;
};

/// A convolution in one pass. N images of H × W pixels, channels last; I inputs, O outputs.
struct ConvolutionCall {
  const Tensor& x_NHWI;
  const Pass& pass;  ///< of the pixels of x
  uint64_t host_key;
  std::shared_ptr<const ops::LinearWeight> weight;  ///< in use: rows are kernels, and its tensor is [O, I, height, width]
  std::optional<Tensor> bias_O;                     ///< in use
  const ops::KernelSteps& steps;

  /// What the host gives without attachments.
  Tensor base() const { return convolved(x_NHWI, bias_O); }
  /// Some image, convolved with the base's kernels.
  Tensor convolved(const Tensor& image_NHWI, const std::optional<Tensor>& bias) const;
};

/// A look-up in a table in one pass. T tokens.
struct LookupCall {
  const Tensor& ids_T;
  /// In use, as a projection's: outputs are channels, inputs are token ids. Null after the table.
  std::shared_ptr<const ops::LinearWeight> weight;
};

/// Keys and values that every token sees before those of its own document. N of them, K key heads, E channels of a head.
struct KeyPrefix {
  Tensor keys_NKE;
  Tensor values_NKE;
};

/// The end of a block: its output and what it meets in the residual stream. T tokens, D channels.
struct BlockOutput {
  Tensor block_TD;
  Tensor residual_TD;          ///< the stream before the block
  const Norm* norm = nullptr;  ///< the norm of their sum, as in BERT; null: none

  /// The stream after the block: norm(residual + block).
  Tensor sum() const;
};

/// What one adapter adds to one host. A host keeps its attachments in one list, in the order in which they were attached, whatever
/// their kinds; each kind says what it trains, what it computes and what it keeps for backward.
class Attachment {
 public:
  explicit Attachment(std::string adapter) : adapter(std::move(adapter)) {}
  virtual ~Attachment() = default;

  /// Its tensors, which may be trained.
  virtual std::vector<Tensor> tensors() const = 0;
  /// What a pass keeps of it per token until backward, besides the host's input.
  virtual Kept kept(int64_t out_features) const;
  /// The low-rank pair that ops::project() computes together with the base; null: it is computed by project() below.
  virtual const LowRank* fused() const { return nullptr; }
  /// The result of a projection with this attachment. A kind that cannot be attached to projections need not define it.
  /// @param y_TO the result with the attachments before it; undefined: there are none, so that it starts from call.base().
  virtual Tensor project(const ProjectionCall& call, const Tensor& y_TO) const;
  /// The same for a convolution, [N, H, W, O].
  virtual Tensor convolve(const ConvolutionCall& call, const Tensor& y_NHWO) const;
  /// The same for a table. @param x_TD the rows with the attachments before it.
  virtual Tensor look_up(const LookupCall& call, const Tensor& x_TD) const;
  /// What takes the place of a block's output (block_TD), for a kind that is attached to a tap.
  virtual Tensor tap(const BlockOutput& output, const Pass& pass) const;
  /// Whether tap() gives the stream after the block: nothing is added to it, and no norm follows.
  virtual bool replaces_sum() const { return false; }
  /// The keys and values before those of each document, for a kind that is attached to attention.
  virtual KeyPrefix key_prefix(const Pass& pass) const;
  /// The number of these keys. A document's tokens take the positions after them, as after PEFT's past_key_values.
  virtual int64_t prefix_length() const { return 0; }
  /// The number of virtual tokens before each document whose embeddings it gives, for a kind that is attached after the table of tokens.
  virtual int64_t virtual_tokens() const { return 0; }

  std::string adapter;  ///< the adapter's name
  bool enabled = true;  ///< whether it is in use
};

}  // namespace lora::nn

#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>

namespace lora::ops {

using at::Tensor;

/// Sum over S positions of the cross-entropy between h_SD W_VDᵀ (+ b) and the labels, a float32 scalar. The logits exist for one chunk
/// of positions at a time; the gradients of h (and of W and b, if they are trained) are computed in the forward pass (Wijmans et al.
/// 2024, "Cut Your Losses", section 3; chunked as in Liger-Kernel). Logits are rounded to h's dtype and the loss is computed in
/// float32 (float64 for float64), as in transformers.
/// @param labels_S int64 in [0, V), or below 0 for no target.
Tensor linear_cross_entropy(const Tensor& h_SD, const Tensor& W_VD, const std::optional<Tensor>& bias_V, const Tensor& labels_S);

/// The sizes of a loss: S supervised positions of D channels, a vocabulary of V.
struct LossSizes {
  int64_t rows;
  int64_t hidden;
  int64_t vocab;
  at::ScalarType dtype;
};

/// Bytes of linear_cross_entropy: h and its gradient, a chunk of logits, and for a trained head its gradient before and after scaling.
int64_t linear_cross_entropy_bytes(const LossSizes& sizes, bool head_is_trained);
/// Bytes of chunked_cross_entropy: h and its gradient; for a chunk, log-probabilities and two gradients in float32, and its logits if
/// they have another dtype.
int64_t chunked_cross_entropy_bytes(const LossSizes& sizes);
/// Bytes of chunked_token_scores: h, and a chunk's logits (also in float32 if they are not) and log-probabilities.
int64_t token_scores_bytes(const LossSizes& sizes);

/// The same with all logits at once, by differentiable ATen operations.
Tensor linear_cross_entropy_reference(const Tensor& h_SD, const Tensor& W_VD, const std::optional<Tensor>& bias_V, const Tensor& labels_S);

/// The logits [C, V] for the hidden states h_CD of consecutive positions, the first of which is `begin`: for a head that is more than
/// h Wᵀ + b. Differentiable in h.
using LogitsOf = std::function<Tensor(const Tensor& h_CD, int64_t begin)>;

/// Sum over S positions of the cross-entropy between such logits and the labels, a float32 scalar, also one chunk of positions at a
/// time with the gradients computed in the forward pass.
/// @param trained every tensor besides h that the logits depend on and whose gradient is needed.
Tensor chunked_cross_entropy(const Tensor& h_SD, const Tensor& labels_S, int64_t vocab_size, const std::vector<Tensor>& trained,
                             const LogitsOf& logits);

/// The loss of each position, [S] in float32 (float64 for float64), for a loss that is not a sum over positions. If the head is not
/// trained, it costs what linear_cross_entropy costs; otherwise backward computes the logits a second time.
Tensor linear_token_losses(const Tensor& h_SD, const Tensor& W_VD, const std::optional<Tensor>& bias_V, const Tensor& labels_S);
/// The same for a head that is more than one product; backward computes its logits a second time, so `logits` must own what it refers to.
/// @param trained as for chunked_cross_entropy.
Tensor chunked_token_losses(const Tensor& h_SD, const Tensor& labels_S, int64_t vocab_size, const std::vector<Tensor>& trained,
                            const LogitsOf& logits);

/// What an evaluation records for each position.
struct TokenScores {
  Tensor loss_S;     ///< float32: negative log-probability of its label
  Tensor correct_S;  ///< bool: whether its label has the largest logit
};

/// The scores of S positions for their logits [S, V], without gradients.
TokenScores token_scores(const Tensor& logits_SV, const Tensor& labels_S);

/// The same for hidden states, whose logits exist for one chunk of positions at a time.
TokenScores chunked_token_scores(const Tensor& h_SD, const Tensor& labels_S, int64_t vocab_size, const LogitsOf& logits);

}  // namespace lora::ops

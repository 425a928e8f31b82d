#pragma once
#include <memory>
#include <string>
#include <vector>

#include "diffusion/image_pass.h"
#include "diffusion/image_rope.h"
#include "lora/nn/linear.h"
#include "lora/nn/rms_norm.h"

namespace lora::diffusion {

/// What the blocks of one network have in common, and what one of them has.
struct JointShape {
  int64_t num_heads;
  int64_t head_dim;
  bool norms_queries;         ///< RMS norms of each head's queries and keys (SD3.5)
  bool has_second_attention;  ///< attn2, of the image's patches alone (SD3.5 medium)
  bool is_last;               ///< nothing follows that needs the text: context_pre_only

  int64_t channels() const { return num_heads * head_dim; }
};

/// diffusers' FeedForward with "gelu-approximate".
class GeluFeedForward {
 public:
  GeluFeedForward(const std::string& name, int64_t channels, io::WeightSource& source, const at::TensorOptions& options);

  Tensor forward(const Tensor& x_TC, const nn::Pass& rows) const;
  std::vector<nn::Host*> hosts() { return {&in_, &out_}; }
  /// What a pass keeps per row.
  nn::Kept kept(nn::Recompute recompute) const;
  int64_t width() const { return in_.out_features(); }

 private:
  nn::Linear in_, out_;
};

/// The projections of one stream, patches or text, for attention: queries, keys, values, the norms of their heads, and the result's.
class StreamAttention {
 public:
  struct Names {
    const char *q, *k, *v, *out, *norm_q, *norm_k;  ///< out null: the result is not projected
  };

  /// @param name "transformer_blocks.0.attn"
  StreamAttention(const std::string& name, const Names& names, const JointShape& shape, io::WeightSource& source,
                  const at::TensorOptions& options);

  struct Heads {
    Tensor q_NLHE, k_NLHE, v_NLHE;
  };
  Heads heads(const Tensor& x_TC, int64_t images, const nn::Pass& rows) const;
  /// Of the attention's result [N, L, H, E]: T rows.
  Tensor project_out(const Tensor& result_NLHE, const nn::Pass& rows) const;
  std::vector<nn::Host*> hosts() const;
  nn::Kept kept() const;

 private:
  Tensor by_head(const Tensor& x_TC, int64_t images, const nn::RmsNorm* norm) const;

  int64_t num_heads_, head_dim_;
  nn::Linear q_, k_, v_;
  std::unique_ptr<nn::Linear> out_;
  std::unique_ptr<nn::RmsNorm> norm_q_, norm_k_;
};

/// diffusers' JointTransformerBlock (Esser et al.: Scaling Rectified Flow Transformers for High-Resolution Image Synthesis, 2024,
/// figure 2): patches and text have projections of their own and attend to each other in one attention, patches first. T rows of patches
/// and S rows of text of N images, C channels.
class JointBlock {
 public:
  JointBlock(const std::string& name, const JointShape& shape, io::WeightSource& source, const at::TensorOptions& options);

  /// Both streams after the block: the rows of patches, then those of the text; the last block's are patches alone.
  /// @param rows_XC the rows of patches, then those of the text. @param text_rows how many of them are the text's.
  /// @param embedding_NC silu of the embedding of timesteps and pooled texts. @param rope of an image's patches and text (FLUX).
  Tensor forward(const Tensor& rows_XC, int64_t text_rows, const Tensor& embedding_NC, const ImagePass& pass,
                 const RotaryTables& rope = {}) const;

  std::vector<nn::Host*> hosts() const;
  /// What a pass keeps per patch, and per position of the text; what backward needs in addition per row.
  nn::Kept kept_of_patch(nn::Recompute recompute) const;
  nn::Kept kept_of_text(nn::Recompute recompute) const;
  nn::Kept working(nn::Recompute recompute) const;
  int64_t channels() const { return shape_.channels(); }

 private:
  Tensor text_after(const Tensor& text_SC, const Tensor& result_NLHE, const std::vector<Tensor>& changes, const nn::Pass& text) const;
  Tensor fed(const GeluFeedForward& feed, const Tensor& x_TC, const Tensor* changes, const nn::Pass& rows) const;

  JointShape shape_;
  double scale_;
  nn::Linear norm1_, norm1_context_;  ///< give the changes of norms and the gates
  StreamAttention of_patches_, of_text_;
  std::unique_ptr<StreamAttention> second_;  ///< null: none
  GeluFeedForward feed_;
  std::unique_ptr<GeluFeedForward> feed_text_;  ///< null in the last block
};

}  // namespace lora::diffusion

#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lora/diffusion/pipeline.h"
#include "lora/nn/denoiser.h"
#include "lora/nn/model.h"
#include "lora/tokenizer/tokenizer.h"

namespace lora::diffusion {

/// The ids of a caption.
struct CaptionIds {
  std::vector<std::vector<int32_t>> of_encoder;  ///< for each text encoder of the pipeline, in their order, always of its full length
  int64_t num_cut = 0;                           ///< tokens of the caption that the encoder with the least room does not see
};

/// The tokenizers of a pipeline, which need no weights.
class CaptionTokenizers {
 public:
  /// Throws model Error for a missing or damaged tokenizer, and for one of another class than the family's.
  explicit CaptionTokenizers(const Pipeline& pipeline);
  ~CaptionTokenizers();
  CaptionTokenizers(CaptionTokenizers&&) noexcept;

  /// The ids that diffusers' pipeline gives its encoders. Throws data Error if `caption` is not valid UTF-8.
  CaptionIds encode(const std::string& caption) const;
  /// The text of the tokens of the first encoder, for previews.
  const tokenizer::Tokenizer& first() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The text encoders of a pipeline, and what the family's network takes of their states.
class TextEncoders {
 public:
  /// Loads their weights. Throws model Error for missing ones, and a config that is not supported; config Error for a clip_skip of the
  /// pipeline that its encoders do not have.
  /// @param options dtype and device of the weights, and of all that is computed.
  TextEncoders(const Pipeline& pipeline, const at::TensorOptions& options);
  ~TextEncoders();
  TextEncoders(TextEncoders&&) noexcept;

  /// The states of captions, without gradients; time_ids are left undefined.
  nn::ImageCondition encode(const std::vector<CaptionIds>& captions) const;
  /// The same with gradients to what is attached to the encoders: a pass for each over its documents (see batch), one for each caption.
  nn::ImageCondition encode(const std::vector<nn::Pass>& passes) const;
  /// The captions as documents of one encoder, on the CPU. `sample_ids`: [N], for the keys of random numbers.
  nn::Batch batch(size_t encoder, const std::vector<CaptionIds>& captions, const std::vector<int64_t>& sample_ids) const;

  /// The encoders as models, to which adapters can be attached; their modules have the names of CLIPTextModelWithProjection
  /// ("text_model.encoder.layers.0.self_attn.q_proj") or T5EncoderModel.
  std::vector<nn::Model>& models();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lora::diffusion

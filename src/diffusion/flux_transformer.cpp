// N images, C channels of latents, H and W sides; h and w sides in patches of 2 by 2; T rows of patches, S rows of texts, X rows of both,
// L rows of one image, D channels.
#include "diffusion/flux_transformer.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "diffusion/adaptive_norm.h"
#include "diffusion/flux_config.h"
#include "diffusion/image_rope.h"
#include "diffusion/joint_block.h"
#include "diffusion/network_body.h"
#include "diffusion/single_block.h"
#include "diffusion/time_embedding.h"
#include "lora/base/error.h"

namespace lora::diffusion {

namespace {

constexpr int64_t kFluxTimeChannels = 256;
constexpr int64_t kFluxTextPositions = 512;  // of T5's texts
constexpr int64_t kPatch = 2;                // latents of a patch's side
constexpr double kFluxTimesteps = 1000.0;

class FluxTransformer : public NetworkBody {
 public:
  FluxTransformer(FluxConfig config, io::WeightSource& source, const at::TensorOptions& options);

  Tensor predict(const Tensor& latents_NCHW, const Tensor& timesteps_N, const nn::ImageCondition& condition,
                 const nn::Pass& pass) const override;
  int64_t latent_channels() const override { return config_.patch_channels / (kPatch * kPatch); }
  int64_t side_multiple() const override { return kPatch; }
  bool takes_guidance() const override { return config_.takes_guidance; }

  /// Those of diffusers' training scripts.
  std::vector<std::string> default_target_modules() const override;
  nn::PassMemory pass_memory(nn::Recompute recompute) const override;

 private:
  std::vector<nn::Host*> modules() const override;
  /// Throws model Error for inputs of other shapes than the network's.
  void require_inputs(const Tensor& latents_NCHW, const nn::ImageCondition& condition) const;
  /// silu of the embedding of timesteps, guidance and pooled texts.
  Tensor embedding(const Tensor& timesteps_N, const nn::ImageCondition& condition, const nn::Pass& images) const;
  /// The rows of patches after all blocks.
  Tensor run_blocks(const Tensor& rows_XD, int64_t text_rows, const Tensor& embedding_ND, const RotaryTables& rope,
                    const ImagePass& images) const;

  FluxConfig config_;
  Sinusoid sinusoid_;
  TimeEmbedding time_;
  std::unique_ptr<TimeEmbedding> guidance_;  ///< null: the network takes none
  TimeEmbedding pooled_;
  nn::Linear text_embedding_, patch_embedding_;
  std::vector<std::unique_ptr<JointBlock>> blocks_;
  std::vector<std::unique_ptr<SingleBlock>> single_blocks_;
  nn::Linear norm_out_, proj_out_;
};

FluxTransformer::FluxTransformer(FluxConfig config, io::WeightSource& source, const at::TensorOptions& options)
    : NetworkBody(options),
      config_(std::move(config)),
      sinusoid_{kFluxTimeChannels, /*cosine_first=*/true, /*freq_shift=*/0.0},
      time_("time_text_embed.timestep_embedder", kFluxTimeChannels, config_.channels(), source, options),
      pooled_("time_text_embed.text_embedder", config_.pooled_channels, config_.channels(), source, options),
      text_embedding_("context_embedder", {config_.text_channels, config_.channels(), /*bias=*/true}, source, options),
      patch_embedding_("x_embedder", {config_.patch_channels, config_.channels(), /*bias=*/true}, source, options),
      norm_out_("norm_out.linear", {config_.channels(), 2 * config_.channels(), /*bias=*/true}, source, options),
      proj_out_("proj_out", {config_.channels(), config_.patch_channels, /*bias=*/true}, source, options) {
  if (config_.takes_guidance) {
    guidance_ = std::make_unique<TimeEmbedding>("time_text_embed.guidance_embedder", kFluxTimeChannels, config_.channels(), source,
                                                options);
  }
  const JointShape shape{config_.num_heads, config_.head_dim, /*norms_queries=*/true, /*has_second_attention=*/false, /*is_last=*/false};
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    blocks_.push_back(std::make_unique<JointBlock>("transformer_blocks." + std::to_string(i), shape, source, options));
  }
  for (int64_t i = 0; i < config_.num_single_layers; ++i) {
    single_blocks_.push_back(std::make_unique<SingleBlock>("single_transformer_blocks." + std::to_string(i), shape, source, options));
  }
}

std::vector<std::string> FluxTransformer::default_target_modules() const {
  return {"attn.add_k_proj", "attn.add_q_proj", "attn.add_v_proj",      "attn.to_add_out",  "attn.to_k",     "attn.to_out.0",
          "attn.to_q",       "attn.to_v",       "ff.net.0.proj",        "ff.net.2",         "ff_context.net.0.proj",
          "ff_context.net.2"};
}

void FluxTransformer::require_inputs(const Tensor& latents_NCHW, const nn::ImageCondition& condition) const {
  const int64_t images = size_or_zero(latents_NCHW, 0), height = size_or_zero(latents_NCHW, 2), width = size_or_zero(latents_NCHW, 3);
  require_input("latents", latents_NCHW, {images, latent_channels(), height, width});
  require_input("text states", condition.states_NSD, {images, size_or_zero(condition.states_NSD, 1), config_.text_channels});
  require_input("pooled text", condition.pooled_NP, {images, config_.pooled_channels});
  if (config_.takes_guidance) {
    require_input("guidance", condition.guidance_N, {images});
  }
  if (height % kPatch != 0 || width % kPatch != 0) {
    model_error("transformer", "found latents of " + std::to_string(height) + " by " + std::to_string(width) +
                                   ", expected sides that are multiples of " + std::to_string(kPatch));
  }
}

Tensor FluxTransformer::embedding(const Tensor& timesteps_N, const nn::ImageCondition& condition, const nn::Pass& images) const {
  // diffusers rounds the share of noise to the network's dtype, and then multiplies.
  const auto embedded = [&](const TimeEmbedding& own, const Tensor& shares_N) {
    return own.forward(sinusoid_.of(shares_N.to(options()) * kFluxTimesteps).to(options()), images);
  };
  Tensor sum_ND = embedded(time_, timesteps_N.to(at::kFloat) / kFluxTimesteps);
  if (guidance_ != nullptr) {
    sum_ND = sum_ND + embedded(*guidance_, condition.guidance_N);
  }
  return at::silu(sum_ND + pooled_.forward(condition.pooled_NP.to(options()), images));
}

Tensor FluxTransformer::run_blocks(const Tensor& rows_XD, int64_t text_rows, const Tensor& embedding_ND, const RotaryTables& rope,
                                   const ImagePass& images) const {
  Tensor x_XD = rows_XD;
  const auto run = [&](const auto& forward) {
    const auto block = [forward, images](const std::vector<Tensor>& inputs, const nn::Pass& own) {
      return forward(inputs[0], inputs[1], images.with(own));
    };
    x_XD = nn::recomputed({x_XD, embedding_ND}, images.images(), nn::Recompute::kLayers, block);
  };
  for (const std::unique_ptr<JointBlock>& block : blocks_) {
    run([&block = *block, text_rows, rope](const Tensor& x, const Tensor& changes, const ImagePass& own) {
      return block.forward(x, text_rows, changes, own, rope);
    });
  }
  const int64_t count = embedding_ND.size(0), patch_rows = rows_XD.size(0) - text_rows;
  const auto by_image = [&](const Tensor& rows) { return rows.view({count, -1, config_.channels()}); };
  x_XD = at::cat({by_image(x_XD.narrow(0, 0, patch_rows)), by_image(x_XD.narrow(0, patch_rows, text_rows))}, 1).flatten(0, 1);
  for (const std::unique_ptr<SingleBlock>& block : single_blocks_) {
    run([&block = *block, rope](const Tensor& x, const Tensor& changes, const ImagePass& own) {
      return block.forward(x, changes, rope, own);
    });
  }
  return by_image(x_XD).narrow(1, 0, patch_rows / count).reshape({patch_rows, config_.channels()});
}

Tensor FluxTransformer::predict(const Tensor& latents_NCHW, const Tensor& timesteps_N, const nn::ImageCondition& condition,
                                const nn::Pass& pass) const {
  require_inputs(latents_NCHW, condition);
  const ImagePass images(pass);
  const int64_t count = latents_NCHW.size(0), height = latents_NCHW.size(2) / kPatch, width = latents_NCHW.size(3) / kPatch;
  // The channels of a patch: of each channel of the latents its 2 by 2 places.
  const Tensor patches_TI = latents_NCHW.to(options())
                                .reshape({count, latent_channels(), height, kPatch, width, kPatch})
                                .permute({0, 2, 4, 1, 3, 5})
                                .reshape({count * height * width, config_.patch_channels});
  const Tensor states_SD = condition.states_NSD.to(options()).flatten(0, 1);
  const int64_t text_count = states_SD.size(0) / count;
  const Tensor x_TD = patch_embedding_.forward(patches_TI, images.places(height * width));
  const Tensor text_SD = text_embedding_.forward(states_SD, images.places(text_count));
  const Tensor embedding_ND = embedding(timesteps_N, condition, pass);
  const RotaryTables rope = image_rope(config_.rope_axes, height, width, text_count, device());
  const Tensor y_TD = run_blocks(at::cat({x_TD, text_SD}), text_SD.size(0), embedding_ND, rope, images);
  const std::vector<Tensor> changes = norm_out_.forward(embedding_ND, pass).split(config_.channels(), 1);
  const Tensor normed_TD = modulated_norm(y_TD, /*scale_NC=*/changes[0], /*shift_NC=*/changes[1]);
  return proj_out_.forward(normed_TD, images.places(height * width))
      .view({count, height, width, latent_channels(), kPatch, kPatch})
      .permute({0, 3, 1, 4, 2, 5})
      .reshape(latents_NCHW.sizes());
}

std::vector<nn::Host*> FluxTransformer::modules() const {
  auto& self = const_cast<FluxTransformer&>(*this);
  std::vector<nn::Host*> all;
  const auto add = [&all](const std::vector<nn::Host*>& own) { all.insert(all.end(), own.begin(), own.end()); };
  add(self.time_.hosts());
  if (guidance_ != nullptr) {
    add(guidance_->hosts());
  }
  add(self.pooled_.hosts());
  add({&self.text_embedding_, &self.patch_embedding_});
  for (const std::unique_ptr<JointBlock>& block : blocks_) {
    add(block->hosts());
  }
  for (const std::unique_ptr<SingleBlock>& block : single_blocks_) {
    add(block->hosts());
  }
  add({&self.norm_out_, &self.proj_out_});
  return all;
}

/// Counted per place of the latents, of which a patch has several.
nn::PassMemory FluxTransformer::pass_memory(nn::Recompute recompute) const {
  const int64_t width = config_.channels();
  const bool whole = recompute >= nn::Recompute::kLayers;
  nn::Kept of_patch{4 * width, 4}, of_text = nn::kept_by_project({&text_embedding_});
  for (const std::unique_ptr<JointBlock>& block : blocks_) {
    of_patch += whole ? nn::Kept{width, 0} : block->kept_of_patch(recompute);
    of_text += whole ? nn::Kept{width, 0} : block->kept_of_text(recompute);
  }
  for (const std::unique_ptr<SingleBlock>& block : single_blocks_) {
    of_patch += whole ? nn::Kept{width, 0} : block->kept(recompute);
    of_text += whole ? nn::Kept{width, 0} : block->kept(recompute);
  }
  const int64_t working = std::max(blocks_.front()->working(recompute).bytes(dtype()),
                                   single_blocks_.front()->working(recompute).bytes(dtype()));
  const int64_t forward = nn::Kept{16 * width, 2}.bytes(dtype());
  const auto per_place = [](int64_t bytes) { return (bytes + kPatch * kPatch - 1) / (kPatch * kPatch); };
  nn::PassMemory memory;
  memory.kept = per_place(of_patch.bytes(dtype()));
  memory.working = per_place(working);
  memory.forward = per_place(forward);
  memory.kept_per_document = kFluxTextPositions * (of_text.bytes(dtype()) + (whole ? working : 0));
  memory.forward_per_document = kFluxTextPositions * forward;
  return memory;
}

}  // namespace

nn::Model make_flux_transformer(const Json& config, const std::string& where, io::WeightSource& source, const at::TensorOptions& options) {
  nn::Model model;
  model.body = std::make_unique<FluxTransformer>(read_flux_config(config, where), source, options);
  return model;
}

}  // namespace lora::diffusion

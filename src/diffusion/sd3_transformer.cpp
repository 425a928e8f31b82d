// N images, C channels of latents, H and W sides; h and w sides in patches of P by P; T rows of patches, S rows of texts, D channels.
#include "diffusion/sd3_transformer.h"

#include <ATen/ATen.h>

#include "diffusion/adaptive_norm.h"
#include "diffusion/joint_block.h"
#include "diffusion/network_body.h"
#include "diffusion/sd3_config.h"
#include "diffusion/time_embedding.h"
#include "lora/base/error.h"
#include "lora/nn/conv2d.h"

namespace lora::diffusion {

namespace {

constexpr int64_t kTimeChannels = 256;
constexpr int64_t kSd3TextPositions = 77 + 256;  // of CLIP's and T5's texts

class Sd3Transformer : public NetworkBody {
 public:
  Sd3Transformer(Sd3Config config, io::WeightSource& source, const at::TensorOptions& options);

  Tensor predict(const Tensor& latents_NCHW, const Tensor& timesteps_N, const nn::ImageCondition& condition,
                 const nn::Pass& pass) const override;
  int64_t latent_channels() const override { return config_.in_channels; }
  int64_t side_multiple() const override { return config_.patch_size; }

  /// Those of diffusers' training scripts.
  std::vector<std::string> default_target_modules() const override;
  nn::PassMemory pass_memory(nn::Recompute recompute) const override;

 private:
  std::vector<nn::Host*> modules() const override;
  /// Throws model Error for inputs of other shapes than the network's.
  void require_inputs(const Tensor& latents_NCHW, const nn::ImageCondition& condition) const;
  /// The middle of the stored positions, [1, h * w, D].
  Tensor positions(int64_t height, int64_t width) const;
  /// silu of the embedding of timesteps and pooled texts.
  Tensor embedding(const Tensor& timesteps_N, const Tensor& pooled_NP, const nn::Pass& images) const;
  Tensor run_blocks(const Tensor& rows_XD, int64_t text_rows, const Tensor& embedding_ND, const ImagePass& images) const;
  /// [N, C, H, W] of rows that are patches, with the channels of a patch last.
  Tensor unpatched(const Tensor& patches_TO, const Tensor& latents_NCHW) const;

  Sd3Config config_;
  Sinusoid sinusoid_;
  nn::Conv2d patch_embedding_;
  Tensor positions_1GD_;  ///< G places of a square grid
  TimeEmbedding time_, pooled_;
  nn::Linear text_embedding_;
  std::vector<std::unique_ptr<JointBlock>> blocks_;
  nn::Linear norm_out_, proj_out_;
};

nn::Conv2dShape patch_shape(const Sd3Config& config) {
  return {.in_channels = config.in_channels,
          .out_channels = config.channels(),
          .kernel = config.patch_size,
          .steps = {.stride = config.patch_size, .padding = 0}};
}

Sd3Transformer::Sd3Transformer(Sd3Config config, io::WeightSource& source, const at::TensorOptions& options)
    : NetworkBody(options),
      config_(std::move(config)),
      sinusoid_{kTimeChannels, /*cosine_first=*/true, /*freq_shift=*/0.0},
      patch_embedding_("pos_embed.proj", patch_shape(config_), source, options),
      positions_1GD_(source.get("pos_embed.pos_embed", {1, config_.grid_side * config_.grid_side, config_.channels()},
                                io::WeightRole::kEmbedding).to(options)),
      time_("time_text_embed.timestep_embedder", kTimeChannels, config_.channels(), source, options),
      pooled_("time_text_embed.text_embedder", config_.pooled_channels, config_.channels(), source, options),
      text_embedding_("context_embedder", {config_.text_channels, config_.channels(), /*bias=*/true}, source, options),
      norm_out_("norm_out.linear", {config_.channels(), 2 * config_.channels(), /*bias=*/true}, source, options),
      proj_out_("proj_out", {config_.channels(), config_.patch_size * config_.patch_size * config_.out_channels, /*bias=*/true}, source,
                options) {
  for (int64_t i = 0; i < config_.num_layers; ++i) {
    const JointShape shape{config_.num_heads, config_.head_dim, config_.norms_queries,
                           config_.has_second_attention[static_cast<size_t>(i)], /*is_last=*/i + 1 == config_.num_layers};
    blocks_.push_back(std::make_unique<JointBlock>("transformer_blocks." + std::to_string(i), shape, source, options));
  }
}

std::vector<std::string> Sd3Transformer::default_target_modules() const {
  return {"attn.add_k_proj", "attn.add_q_proj", "attn.add_v_proj", "attn.to_add_out",
          "attn.to_k",       "attn.to_out.0",   "attn.to_q",       "attn.to_v"};
}

void Sd3Transformer::require_inputs(const Tensor& latents_NCHW, const nn::ImageCondition& condition) const {
  const int64_t images = size_or_zero(latents_NCHW, 0), height = size_or_zero(latents_NCHW, 2), width = size_or_zero(latents_NCHW, 3);
  require_input("latents", latents_NCHW, {images, config_.in_channels, height, width});
  require_input("text states", condition.states_NSD, {images, size_or_zero(condition.states_NSD, 1), config_.text_channels});
  require_input("pooled text", condition.pooled_NP, {images, config_.pooled_channels});
  const int64_t most = config_.grid_side * config_.patch_size;
  if (height % config_.patch_size != 0 || width % config_.patch_size != 0 || height > most || width > most) {
    model_error("transformer", "found latents of " + std::to_string(height) + " by " + std::to_string(width) +
                                   ", expected sides that are multiples of " + std::to_string(config_.patch_size) + " and at most " +
                                   std::to_string(most) + " (pos_embed_max_size)");
  }
}

Tensor Sd3Transformer::positions(int64_t height, int64_t width) const {
  const int64_t side = config_.grid_side;
  const Tensor grid = positions_1GD_.view({side, side, -1});
  return grid.narrow(0, (side - height) / 2, height).narrow(1, (side - width) / 2, width).reshape({1, height * width, -1});
}

Tensor Sd3Transformer::embedding(const Tensor& timesteps_N, const Tensor& pooled_NP, const nn::Pass& images) const {
  const Tensor times_ND = time_.forward(sinusoid_.of(timesteps_N).to(options()), images);
  return at::silu(times_ND + pooled_.forward(pooled_NP.to(options()), images));
}

Tensor Sd3Transformer::run_blocks(const Tensor& rows_XD, int64_t text_rows, const Tensor& embedding_ND, const ImagePass& images) const {
  Tensor x_XD = rows_XD;
  for (const std::unique_ptr<JointBlock>& block : blocks_) {
    const auto run = [&block = *block, text_rows, images](const std::vector<Tensor>& inputs, const nn::Pass& own) {
      return block.forward(inputs[0], text_rows, inputs[1], images.with(own));
    };
    x_XD = nn::recomputed({x_XD, embedding_ND}, images.images(), nn::Recompute::kLayers, run);
  }
  return x_XD;
}

Tensor Sd3Transformer::unpatched(const Tensor& patches_TO, const Tensor& latents_NCHW) const {
  const int64_t side = config_.patch_size, height = latents_NCHW.size(2) / side, width = latents_NCHW.size(3) / side;
  return patches_TO.view({-1, height, width, side, side, config_.out_channels})
      .permute({0, 5, 1, 3, 2, 4})
      .reshape({latents_NCHW.size(0), config_.out_channels, height * side, width * side});
}

Tensor Sd3Transformer::predict(const Tensor& latents_NCHW, const Tensor& timesteps_N, const nn::ImageCondition& condition,
                               const nn::Pass& pass) const {
  require_inputs(latents_NCHW, condition);
  const ImagePass images(pass);
  const int64_t count = latents_NCHW.size(0);
  const Tensor sample_NHWC = latents_NCHW.to(options()).permute({0, 2, 3, 1}).contiguous();
  const Tensor patches_NhwD = patch_embedding_.forward(sample_NHWC, images.places(sample_NHWC.size(1) * sample_NHWC.size(2)));
  const int64_t height = patches_NhwD.size(1), width = patches_NhwD.size(2);
  const Tensor x_TD = (patches_NhwD.flatten(1, 2) + positions(height, width)).flatten(0, 1);
  const Tensor states_SD = condition.states_NSD.to(options()).flatten(0, 1);
  const Tensor text_SD = text_embedding_.forward(states_SD, images.places(states_SD.size(0) / count));
  const Tensor embedding_ND = embedding(timesteps_N, condition.pooled_NP, pass);
  const Tensor y_TD = run_blocks(at::cat({x_TD, text_SD}), text_SD.size(0), embedding_ND, images);
  const std::vector<Tensor> changes = norm_out_.forward(embedding_ND, pass).split(config_.channels(), 1);
  const Tensor normed_TD = modulated_norm(y_TD, /*scale_NC=*/changes[0], /*shift_NC=*/changes[1]);
  return unpatched(proj_out_.forward(normed_TD, images.places(height * width)), latents_NCHW);
}

std::vector<nn::Host*> Sd3Transformer::modules() const {
  auto& self = const_cast<Sd3Transformer&>(*this);
  std::vector<nn::Host*> all{&self.patch_embedding_};
  const auto add = [&all](const std::vector<nn::Host*>& own) { all.insert(all.end(), own.begin(), own.end()); };
  add(self.time_.hosts());
  add(self.pooled_.hosts());
  add({&self.text_embedding_});
  for (const std::unique_ptr<JointBlock>& block : blocks_) {
    add(block->hosts());
  }
  add({&self.norm_out_, &self.proj_out_});
  return all;
}

/// Counted per place of the latents, of which a patch has several.
nn::PassMemory Sd3Transformer::pass_memory(nn::Recompute recompute) const {
  const int64_t places = config_.patch_size * config_.patch_size, width = config_.channels();
  nn::Kept of_patch{4 * width, 4}, of_text = nn::kept_by_project({&text_embedding_});
  for (const std::unique_ptr<JointBlock>& block : blocks_) {
    const bool whole = recompute >= nn::Recompute::kLayers;
    of_patch += whole ? nn::Kept{width, 0} : block->kept_of_patch(recompute);
    of_text += whole ? nn::Kept{width, 0} : block->kept_of_text(recompute);
  }
  const int64_t working = blocks_.front()->working(recompute).bytes(dtype());
  const auto rounded_up = [places](int64_t bytes) { return (bytes + places - 1) / places; };
  nn::PassMemory memory;
  memory.kept = rounded_up(of_patch.bytes(dtype()));
  memory.working = rounded_up(working);
  memory.forward = rounded_up(nn::Kept{12 * width, 2}.bytes(dtype()));
  memory.kept_per_document = kSd3TextPositions * (of_text.bytes(dtype()) + (recompute >= nn::Recompute::kLayers ? working : 0));
  memory.forward_per_document = kSd3TextPositions * nn::Kept{12 * width, 2}.bytes(dtype());
  return memory;
}

}  // namespace

nn::Model make_sd3_transformer(const Json& config, const std::string& where, io::WeightSource& source, const at::TensorOptions& options) {
  nn::Model model;
  model.body = std::make_unique<Sd3Transformer>(read_sd3_config(config, where), source, options);
  return model;
}

}  // namespace lora::diffusion

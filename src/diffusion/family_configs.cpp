#include "diffusion/family_configs.h"

#include "lora/diffusion/pipeline.h"

namespace lora::diffusion {

namespace {

Json unet_config(SingleFileModel model) {
  Json config = {{"_class_name", "UNet2DConditionModel"},
                 {"act_fn", "silu"},
                 {"attention_head_dim", 8},
                 {"block_out_channels", {320, 640, 1280, 1280}},
                 {"center_input_sample", false},
                 {"cross_attention_dim", 768},
                 {"down_block_types", {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"}},
                 {"downsample_padding", 1},
                 {"flip_sin_to_cos", true},
                 {"freq_shift", 0},
                 {"in_channels", 4},
                 {"layers_per_block", 2},
                 {"mid_block_scale_factor", 1},
                 {"norm_eps", 1e-05},
                 {"norm_num_groups", 32},
                 {"out_channels", 4},
                 {"sample_size", 64},
                 {"up_block_types", {"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"}}};
  if (model == SingleFileModel::kStableDiffusion2) {
    config["attention_head_dim"] = {5, 10, 20, 20};
    config["cross_attention_dim"] = 1024;
    config["use_linear_projection"] = true;
    config["upcast_attention"] = true;
  }
  if (model == SingleFileModel::kStableDiffusionXl) {
    config["attention_head_dim"] = {5, 10, 20};
    config["block_out_channels"] = {320, 640, 1280};
    config["cross_attention_dim"] = 2048;
    config["down_block_types"] = {"DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"};
    config["up_block_types"] = {"CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"};
    config["sample_size"] = 128;
    config["use_linear_projection"] = true;
    config["transformer_layers_per_block"] = {1, 2, 10};
    config["addition_embed_type"] = "text_time";
    config["addition_time_embed_dim"] = 256;
    config["projection_class_embeddings_input_dim"] = 2816;
  }
  return config;
}

Json vae_config(SingleFileModel model) {
  const Json down(4, "DownEncoderBlock2D"), up(4, "UpDecoderBlock2D");
  Json config = {{"_class_name", "AutoencoderKL"},
                 {"act_fn", "silu"},
                 {"block_out_channels", {128, 256, 512, 512}},
                 {"down_block_types", down},
                 {"in_channels", 3},
                 {"latent_channels", 4},
                 {"layers_per_block", 2},
                 {"norm_num_groups", 32},
                 {"out_channels", 3},
                 {"sample_size", 512},
                 {"scaling_factor", 0.18215},
                 {"up_block_types", up}};
  if (model == SingleFileModel::kStableDiffusion2) {
    config["sample_size"] = 768;
  }
  if (model == SingleFileModel::kStableDiffusionXl) {
    config["sample_size"] = 1024;
    config["scaling_factor"] = 0.13025;
    config["force_upcast"] = true;
  }
  return config;
}

struct ClipSizes {
  const char* architecture;
  const char* hidden_act;
  int64_t hidden_size, num_layers, num_heads, intermediate_size, projection_dim;
};

constexpr ClipSizes kVitL{"CLIPTextModel", "quick_gelu", 768, 12, 12, 3072, 768};
constexpr ClipSizes kVitH{"CLIPTextModel", "gelu", 1024, 23, 16, 4096, 512};
constexpr ClipSizes kVitBigG{"CLIPTextModelWithProjection", "gelu", 1280, 32, 20, 5120, 1280};

/// With the ids that published files have, although they are not the tokenizer's.
Json clip_config(const ClipSizes& sizes) {
  return {{"architectures", {sizes.architecture}},
          {"attention_dropout", 0.0},
          {"bos_token_id", 0},
          {"eos_token_id", 2},
          {"hidden_act", sizes.hidden_act},
          {"hidden_size", sizes.hidden_size},
          {"intermediate_size", sizes.intermediate_size},
          {"layer_norm_eps", 1e-05},
          {"max_position_embeddings", 77},
          {"model_type", "clip_text_model"},
          {"num_attention_heads", sizes.num_heads},
          {"num_hidden_layers", sizes.num_layers},
          {"pad_token_id", 1},
          {"projection_dim", sizes.projection_dim},
          {"vocab_size", 49408}};
}

Json scheduler_config(SingleFileModel model) {
  Json config = {{"_class_name", model == SingleFileModel::kStableDiffusion1   ? "PNDMScheduler"
                                 : model == SingleFileModel::kStableDiffusion2 ? "DDIMScheduler"
                                                                               : "EulerDiscreteScheduler"},
                 {"beta_end", 0.012},
                 {"beta_schedule", "scaled_linear"},
                 {"beta_start", 0.00085},
                 {"clip_sample", false},
                 {"num_train_timesteps", 1000},
                 {"set_alpha_to_one", false},
                 {"skip_prk_steps", true},
                 {"steps_offset", 1},
                 {"trained_betas", nullptr}};
  if (model == SingleFileModel::kStableDiffusionXl) {
    config["interpolation_type"] = "linear";
    config["timestep_spacing"] = "leading";
    config["use_karras_sigmas"] = false;
  }
  return config;
}

}  // namespace

Json family_config(SingleFileModel model, const std::string& component) {
  const bool is_xl = model == SingleFileModel::kStableDiffusionXl;
  if (component == kUnet) {
    return unet_config(model);
  }
  if (component == kVae) {
    return vae_config(model);
  }
  if (component == kScheduler) {
    return scheduler_config(model);
  }
  if (component == "text_encoder") {
    return clip_config(model == SingleFileModel::kStableDiffusion2 ? kVitH : kVitL);
  }
  return component == "text_encoder_2" && is_xl ? clip_config(kVitBigG) : Json();
}

}  // namespace lora::diffusion

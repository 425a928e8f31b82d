#include "diffusion/component_names.h"

#include <array>
#include <utility>

#include "lora/diffusion/pipeline.h"

namespace lora::diffusion {

namespace {

/// A name within CLIP's text model as CLIPTextModelWithProjection has it.
std::string clip_name(const std::string& stored) {
  if (stored.ends_with("position_ids") || stored == "logit_scale") {
    return "";
  }
  const bool is_inner =
      stored.starts_with("embeddings.") || stored.starts_with("encoder.layers.") || stored.starts_with("final_layer_norm.");
  return is_inner ? "text_model." + stored : stored;
}

/// A name in an autoencoder that diffusers saved before 0.18.
std::string autoencoder_name(const std::string& stored) {
  static constexpr std::array<std::pair<const char*, const char*>, 4> kNames{
      {{".query.", ".to_q."}, {".key.", ".to_k."}, {".value.", ".to_v."}, {".proj_attn.", ".to_out.0."}}};
  if (stored.find(".mid_block.attentions.") != std::string::npos) {
    for (const auto& [old, current] : kNames) {
      if (const size_t at = stored.find(old); at != std::string::npos) {
        return stored.substr(0, at) + current + stored.substr(at + std::string(old).size());
      }
    }
  }
  return stored;
}

}  // namespace

std::string current_name(const std::string& component, const std::string& stored) {
  if (component.starts_with("text_encoder")) {
    return clip_name(stored);
  }
  return component == kVae ? autoencoder_name(stored) : stored;
}

}  // namespace lora::diffusion

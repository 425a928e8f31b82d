#include "peft/network_family.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <initializer_list>

#include "lora/base/error.h"
#include "lora/peft/pipeline_adapter.h"

namespace lora::peft {

namespace {

constexpr std::string_view kTransformerClasses[] = {"SD3Transformer2DModel", "FluxTransformer2DModel"};
constexpr int64_t kFluxWidth = 3072, kSd3Widths[] = {1536, 2432};  // channels of the published transformers

bool has_any(const std::string& module, std::initializer_list<const char*> parts) {
  return std::any_of(parts.begin(), parts.end(), [&module](const char* part) { return module.find(part) != std::string::npos; });
}

/// What a module of a transformer shows.
std::optional<NetworkFamily> shown_by_transformer(const LowRankUpdate& update) {
  const std::string& module = update.module;
  const bool has_width = has_any(module, {".attn.to_q", ".attn.to_k", ".attn.to_v", ".attn.add_"});
  const int64_t width = has_width ? update.A_RI.size(1) : 0;
  if (has_any(module, {"single_transformer_blocks.", ".guidance_embedder.", ".x_embedder"}) || width == kFluxWidth) {
    return NetworkFamily::kFlux;
  }
  const bool is_version_3 = has_any(module, {".attn2.", ".pos_embed."}) || width == kSd3Widths[0] || width == kSd3Widths[1];
  return is_version_3 ? std::optional(NetworkFamily::kVersion3) : std::nullopt;
}

/// What a module of a UNet or a text encoder shows: those of one family have no place in another.
std::optional<NetworkFamily> shown_by_unet(const LowRankUpdate& update) {
  const std::string& module = update.module;
  const bool is_text_projection = has_any(module, {".attn2.to_k", ".attn2.to_v"});
  const int64_t text_channels = is_text_projection ? update.A_RI.size(1) : 0;
  const bool is_later_block = has_any(module, {"transformer_blocks."}) && !has_any(module, {"transformer_blocks.0."});
  if (has_any(module, {"text_encoder_2.", "add_embedding", "up_blocks.0.attentions"}) || text_channels == 2048 || is_later_block) {
    return NetworkFamily::kXl;
  }
  if (text_channels == 1024) {
    return NetworkFamily::kVersion2;
  }
  const bool is_first =
      has_any(module, {"down_blocks.0.attentions", "up_blocks.2.attentions", "down_blocks.3.", "up_blocks.3."});
  return is_first || text_channels == 768 ? std::optional(NetworkFamily::kVersion1) : std::nullopt;
}

/// A linear proj_in and 1024 text channels are those of version 2, whatever other modules show.
bool is_of_version_2(const std::vector<LowRankUpdate>& updates) {
  return std::any_of(updates.begin(), updates.end(), [](const LowRankUpdate& update) {
    const bool is_projection = update.module.ends_with(".proj_in") || update.module.ends_with(".proj_out");
    return (is_projection && update.kernel.empty()) || shown_by_unet(update) == NetworkFamily::kVersion2;
  });
}

}  // namespace

/// Text encoders alone have the same names for versions 1 and 2.
std::optional<NetworkFamily> family_by_modules(const Adapter& adapter) {
  const std::vector<LowRankUpdate> updates = adapter.low_rank();
  const auto is_of_transformer = [](const LowRankUpdate& update) { return component_of(update.module) == "transformer"; };
  const bool has_transformer = std::any_of(updates.begin(), updates.end(), is_of_transformer);
  for (const LowRankUpdate& update : updates) {
    if (has_transformer && !is_of_transformer(update)) {
      continue;  // SDXL's text encoders have the names of Stable Diffusion 3's
    }
    if (const std::optional<NetworkFamily> family = has_transformer ? shown_by_transformer(update) : shown_by_unet(update)) {
      return *family == NetworkFamily::kVersion1 && is_of_version_2(updates) ? NetworkFamily::kVersion2 : *family;
    }
  }
  return std::nullopt;
}

NetworkFamily family_of(const Adapter& adapter, const BaseFacts& base) {
  if (base.is_known()) {
    const JsonReader config(base.config, base.name, ErrorKind::kModel);
    const std::string name = config.string("_class_name", "");
    if (name == kTransformerClasses[0] || name == kTransformerClasses[1]) {
      return name == kTransformerClasses[0] ? NetworkFamily::kVersion3 : NetworkFamily::kFlux;
    }
    const bool is_xl = config.string("addition_embed_type", "") == "text_time";
    return is_xl                                            ? NetworkFamily::kXl
           : config.boolean("use_linear_projection", false) ? NetworkFamily::kVersion2
                                                            : NetworkFamily::kVersion1;
  }
  const std::optional<NetworkFamily> family = family_by_modules(adapter);
  if (!family) {
    model_error(adapter.weights_file.string(),
                "its modules do not show which family the base is of (Stable Diffusion 1, 2, XL, 3 or FLUX.1), for which kohya names "
                "modules differently. Give the base's folder with --model.");
  }
  return *family;
}

std::string pipeline_family(const Adapter& adapter) {
  const std::optional<NetworkFamily> family = family_by_modules(adapter);
  if (!family) {
    return "";
  }
  switch (*family) {
    case NetworkFamily::kVersion1:
      break;
    case NetworkFamily::kVersion2:
      return "Stable Diffusion 2";
    case NetworkFamily::kXl:
      return "Stable Diffusion XL";
    case NetworkFamily::kVersion3:
      return "Stable Diffusion 3";
    case NetworkFamily::kFlux:
      return "FLUX.1";
  }
  return "Stable Diffusion 1";
}

}  // namespace lora::peft

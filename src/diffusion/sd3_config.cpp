#include "diffusion/sd3_config.h"

#include <algorithm>

#include "diffusion/config_sizes.h"

namespace lora::diffusion {

namespace {

std::vector<bool> second_attentions(const JsonReader& reader, int64_t num_layers) {
  const char* const key = "dual_attention_layers";
  std::vector<bool> all(static_cast<size_t>(num_layers), false);
  if (!reader.has(key)) {
    return all;
  }
  const Json& layers = reader.at(key);
  const auto is_layer = [&](const Json& layer) {
    return layer.is_number_integer() && layer.get<int64_t>() >= 0 && layer.get<int64_t>() < num_layers;
  };
  if (!layers.is_array() || !std::all_of(layers.begin(), layers.end(), is_layer)) {
    reader.fail(key, "a list of numbers from 0 to " + std::to_string(num_layers - 1) + " (num_layers)");
  }
  for (const Json& layer : layers) {
    all[layer.get<size_t>()] = true;
  }
  return all;
}

bool norms_queries(const JsonReader& reader) {
  const char* const key = "qk_norm";
  if (reader.has(key) && reader.at(key) != "rms_norm") {
    reader.fail(key, "\"rms_norm\" or null");
  }
  return reader.has(key);
}

}  // namespace

Sd3Config read_sd3_config(const Json& config, const std::string& where) {
  const JsonAccess access;
  const JsonReader reader(config, where, ErrorKind::kModel);
  Sd3Config sd3{};
  reader.string("_class_name", "");
  sd3.patch_size = config_size(reader, "patch_size", 2);
  sd3.in_channels = config_size(reader, "in_channels", 16);
  sd3.out_channels = reader.is_null("out_channels") ? sd3.in_channels : config_size(reader, "out_channels", 16);
  if (sd3.in_channels != sd3.out_channels) {
    reader.fail("in_channels", "out_channels (" + std::to_string(sd3.out_channels) + "); inpainting models are not supported");
  }
  sd3.num_layers = config_size(reader, "num_layers", 18);
  sd3.num_heads = config_size(reader, "num_attention_heads", 18);
  sd3.head_dim = config_size(reader, "attention_head_dim", 64);
  sd3.text_channels = config_size(reader, "joint_attention_dim", 4096);
  sd3.pooled_channels = config_size(reader, "pooled_projection_dim", 2048);
  sd3.grid_side = config_size(reader, "pos_embed_max_size", 96);
  if (config_size(reader, "caption_projection_dim", 1152) != sd3.channels()) {
    reader.fail("caption_projection_dim", "num_attention_heads times attention_head_dim (" + std::to_string(sd3.channels()) + ")");
  }
  sd3.has_second_attention = second_attentions(reader, sd3.num_layers);
  sd3.norms_queries = norms_queries(reader);
  reader.has("sample_size");
  warn_of_unread_keys(config, where, access, "SD3Transformer2DModel");
  return sd3;
}

}  // namespace lora::diffusion

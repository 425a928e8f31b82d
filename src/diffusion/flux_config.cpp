#include "diffusion/flux_config.h"

#include <algorithm>
#include <numeric>

#include "diffusion/config_sizes.h"

namespace lora::diffusion {

namespace {

constexpr int64_t kPackedPlaces = 4;  // 2 by 2 latents

std::vector<int64_t> rope_axes(const JsonReader& reader, int64_t head_dim) {
  const char* const key = "axes_dims_rope";
  const Json axes = reader.has(key) ? reader.at(key) : Json{16, 56, 56};
  const auto is_even = [](const Json& value) { return is_config_size(value) && value.get<int64_t>() % 2 == 0; };
  const bool are_sizes = axes.is_array() && axes.size() == 3 && std::all_of(axes.begin(), axes.end(), is_even);
  const std::vector<int64_t> sizes = are_sizes ? axes.get<std::vector<int64_t>>() : std::vector<int64_t>();
  if (std::accumulate(sizes.begin(), sizes.end(), int64_t{0}) != head_dim) {
    reader.fail(key, "three even numbers whose sum is attention_head_dim (" + std::to_string(head_dim) + ")");
  }
  return sizes;
}

int64_t patch_channels(const JsonReader& reader) {
  const int64_t in = config_size(reader, "in_channels", 64);
  const int64_t out = reader.is_null("out_channels") ? in : config_size(reader, "out_channels", in);
  if (in != out) {
    reader.fail("in_channels", "out_channels (" + std::to_string(out) + "); models that are given another image (Fill, Depth, Canny) " +
                                   "are not supported");
  }
  if (in % kPackedPlaces != 0) {
    reader.fail("in_channels", "a multiple of " + std::to_string(kPackedPlaces) + ", for patches of 2 by 2 latents");
  }
  if (config_size(reader, "patch_size", 1) != 1) {
    reader.fail("patch_size", "1");
  }
  return in;
}

}  // namespace

FluxConfig read_flux_config(const Json& config, const std::string& where) {
  const JsonAccess access;
  const JsonReader reader(config, where, ErrorKind::kModel);
  FluxConfig flux{};
  reader.string("_class_name", "");
  flux.patch_channels = patch_channels(reader);
  flux.num_layers = config_size(reader, "num_layers", 19);
  flux.num_single_layers = config_size(reader, "num_single_layers", 38);
  flux.num_heads = config_size(reader, "num_attention_heads", 24);
  flux.head_dim = config_size(reader, "attention_head_dim", 128);
  flux.text_channels = config_size(reader, "joint_attention_dim", 4096);
  flux.pooled_channels = config_size(reader, "pooled_projection_dim", 768);
  flux.takes_guidance = reader.boolean("guidance_embeds", false);
  flux.rope_axes = rope_axes(reader, flux.head_dim);
  warn_of_unread_keys(config, where, access, "FluxTransformer2DModel");
  return flux;
}

}  // namespace lora::diffusion

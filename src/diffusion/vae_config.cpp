#include "diffusion/vae_config.h"

#include <algorithm>

#include "diffusion/config_sizes.h"

namespace lora::diffusion {
namespace {

constexpr int64_t kImageChannels = 3;

void require_block_types(const JsonReader& reader, const std::string& key, const std::string& type, size_t count) {
  const Json expected(std::vector<std::string>(count, type));
  if ((reader.has(key) || count != 1) && reader.at(key) != expected) {
    reader.fail(key, expected.dump() + " (one for each of block_out_channels)");
  }
}

/// Numbers of each channel of the latents; empty where the key is null.
std::vector<double> latent_numbers(const JsonReader& reader, const std::string& key, int64_t channels) {
  if (!reader.has(key)) {
    return {};
  }
  const Json& value = reader.at(key);
  const auto is_number = [](const Json& item) { return item.is_number(); };
  if (!value.is_array() || static_cast<int64_t>(value.size()) != channels || !std::all_of(value.begin(), value.end(), is_number)) {
    reader.fail(key, "a list of latent_channels (" + std::to_string(channels) + ") numbers");
  }
  return value.get<std::vector<double>>();
}

void read_scale(const JsonReader& reader, VaeConfig& vae) {
  vae.scaling = reader.number("scaling_factor", 0.18215);
  if (!(vae.scaling > 0)) {
    reader.fail("scaling_factor", "a positive number");
  }
  vae.shift = reader.number("shift_factor", 0.0);
  vae.mean = latent_numbers(reader, "latents_mean", vae.latent_channels);
  vae.deviation = latent_numbers(reader, "latents_std", vae.latent_channels);
  if (vae.mean.empty() != vae.deviation.empty()) {
    reader.fail(vae.mean.empty() ? "latents_std" : "latents_mean", "null, because the other of latents_mean and latents_std is");
  }
  if (!std::all_of(vae.deviation.begin(), vae.deviation.end(), [](double value) { return value > 0; })) {
    reader.fail("latents_std", "positive numbers");
  }
}

/// Keys of sizes that tiling alone uses and of a dtype that the caller chooses.
void note_keys_without_effect(const JsonReader& reader) {
  reader.integer("sample_size", 32);
  reader.boolean("force_upcast", true);
}

}  // namespace

VaeConfig read_vae_config(const Json& config, const std::string& where) {
  const JsonAccess access;
  const JsonReader reader(config, where, ErrorKind::kModel);
  if (const std::string name = reader.string("_class_name", "AutoencoderKL"); name != "AutoencoderKL") {
    reader.fail("_class_name", "\"AutoencoderKL\"");
  }
  VaeConfig vae{};
  vae.channels = config_channels(reader, {64});
  require_block_types(reader, "down_block_types", "DownEncoderBlock2D", vae.channels.size());
  require_block_types(reader, "up_block_types", "UpDecoderBlock2D", vae.channels.size());
  for (const char* key : {"in_channels", "out_channels"}) {
    if (reader.integer(key, kImageChannels) != kImageChannels) {
      reader.fail(key, std::to_string(kImageChannels));
    }
  }
  if (const std::string act = reader.string("act_fn", "silu"); act != "silu" && act != "swish") {
    reader.fail("act_fn", "\"silu\"");
  }
  vae.num_layers = config_size(reader, "layers_per_block", 1);
  vae.num_groups = config_size(reader, "norm_num_groups", 32);
  for (const int64_t channels : vae.channels) {
    if (channels % vae.num_groups != 0) {
      reader.fail("norm_num_groups", "a divisor of each of block_out_channels (" + std::to_string(channels) + ")");
    }
  }
  vae.latent_channels = config_size(reader, "latent_channels", 4);
  vae.has_attention = reader.boolean("mid_block_add_attention", true);
  vae.has_quant_conv = reader.boolean("use_quant_conv", true);
  vae.has_post_quant_conv = reader.boolean("use_post_quant_conv", true);
  read_scale(reader, vae);
  note_keys_without_effect(reader);
  warn_of_unread_keys(config, where, access, "AutoencoderKL");
  return vae;
}

}  // namespace lora::diffusion

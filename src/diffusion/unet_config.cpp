#include "diffusion/unet_config.h"

#include <algorithm>
#include <utility>

#include "diffusion/config_sizes.h"

namespace lora::diffusion {

namespace {

const char* const kHeads = "attention_head_dim";

/// Keys that choose parts which this UNet does not have, each with the only value for which they are absent.
const std::vector<std::pair<std::string, Json>>& fixed_keys() {
  static const std::vector<std::pair<std::string, Json>> keys{
      {"center_input_sample", false},
      {"class_embed_type", nullptr},
      {"num_class_embeds", nullptr},
      {"encoder_hid_dim", nullptr},
      {"encoder_hid_dim_type", nullptr},
      {"only_cross_attention", false},
      {"mid_block_only_cross_attention", nullptr},
      {"dual_cross_attention", false},
      {"resnet_time_scale_shift", "default"},
      {"resnet_skip_time_act", false},
      {"resnet_out_scale_factor", 1.0},
      {"time_embedding_type", "positional"},
      {"time_embedding_dim", nullptr},
      {"time_embedding_act_fn", nullptr},
      {"timestep_post_act", nullptr},
      {"time_cond_proj_dim", nullptr},
      {"conv_in_kernel", 3},
      {"conv_out_kernel", 3},
      {"class_embeddings_concat", false},
      {"attention_type", "default"},
      {"cross_attention_norm", nullptr},
      {"reverse_transformer_layers_per_block", nullptr},
      {"num_attention_heads", nullptr},
      {"downsample_padding", 1},
  };
  return keys;
}

void require_known_parts(const Json& config, const JsonReader& reader) {
  for (const auto& [key, value] : fixed_keys()) {
    reader.has(key);  // for JsonAccess
    const auto found = config.find(key);
    if (found != config.end() && *found != value && !(value == false && found->is_null())) {
      reader.fail(key, shown(value) + ", because this UNet has no other form");
    }
  }
}

/// Asks for keys that do not change the result: a size by default, a cast that diffusers' attention does not make, and numbers of a
/// condition that the UNet may not have.
void note_idle_keys(const JsonReader& reader) {
  for (const char* key : {"sample_size", "upcast_attention", "addition_embed_type_num_heads", "addition_time_embed_dim",
                          "projection_class_embeddings_input_dim"}) {
    reader.has(key);
  }
}

/// A list of sizes, or one size for all.
std::vector<int64_t> sizes_in(const JsonReader& reader, const std::string& key, size_t count, int64_t fallback) {
  if (!reader.has(key)) {
    return std::vector<int64_t>(count, fallback);
  }
  const Json& value = reader.at(key);
  if (is_config_size(value)) {
    return std::vector<int64_t>(count, value.get<int64_t>());
  }
  if (!value.is_array() || value.size() != count || !std::all_of(value.begin(), value.end(), is_config_size)) {
    reader.fail(key, "an integer of at least 1, or a list of one for each of block_out_channels (" + std::to_string(count) + ")");
  }
  return value.get<std::vector<int64_t>>();
}

/// Whether each block has attentions.
std::vector<bool> attends_in(const JsonReader& reader, const std::string& key, size_t count, const std::string& plain,
                             const std::string& attending, std::vector<bool> fallback) {
  if (!reader.has(key) && fallback.size() == count) {
    return fallback;
  }
  const Json types = reader.has(key) ? reader.at(key) : Json();
  const auto is_type = [&](const Json& type) { return type == plain || type == attending; };
  if (!types.is_array() || types.size() != count || !std::all_of(types.begin(), types.end(), is_type)) {
    reader.fail(
        key, "a list of \"" + plain + "\" and \"" + attending + "\", one for each of block_out_channels (" + std::to_string(count) + ")");
  }
  std::vector<bool> attends;
  for (const Json& type : types) {
    attends.push_back(type == attending);
  }
  return attends;
}

std::vector<UNetLevel> levels_in(const JsonReader& reader) {
  const std::vector<int64_t> channels = config_channels(reader, {320, 640, 1280, 1280});
  const size_t count = channels.size();
  const std::vector<int64_t> layers = sizes_in(reader, "layers_per_block", count, 2);
  const std::vector<int64_t> heads = sizes_in(reader, kHeads, count, 8);
  const std::vector<int64_t> blocks = sizes_in(reader, "transformer_layers_per_block", count, 1);
  const std::vector<bool> down =
      attends_in(reader, "down_block_types", count, "DownBlock2D", "CrossAttnDownBlock2D", {true, true, true, false});
  const std::vector<bool> up = attends_in(reader, "up_block_types", count, "UpBlock2D", "CrossAttnUpBlock2D", {false, true, true, true});
  std::vector<UNetLevel> levels;
  for (size_t i = 0; i < count; ++i) {
    levels.push_back({channels[i], layers[i], heads[i], blocks[i], down[i], up[count - 1 - i]});
  }
  return levels;
}

/// The text's channels: one number, or a list of equal ones.
int64_t text_channels_in(const JsonReader& reader, size_t count) {
  const std::vector<int64_t> channels = sizes_in(reader, "cross_attention_dim", count, 1280);
  if (std::any_of(channels.begin(), channels.end(), [&](int64_t one) { return one != channels.front(); })) {
    reader.fail("cross_attention_dim", "the same number for all blocks");
  }
  return channels.front();
}

std::optional<AddedCondition> added_in(const JsonReader& reader) {
  const char* const key = "addition_embed_type";
  if (!reader.has(key)) {
    return std::nullopt;
  }
  if (reader.at(key) != "text_time") {
    reader.fail(key, "\"text_time\" (SDXL) or null");
  }
  const AddedCondition added{config_size(reader, "addition_time_embed_dim", 0),
                             config_size(reader, "projection_class_embeddings_input_dim", 0)};
  if (added.time_embed_dim % 2 != 0 || added.input_dim <= 6 * added.time_embed_dim) {
    reader.fail("projection_class_embeddings_input_dim",
                "more than 6 times addition_time_embed_dim, which is even (found " + std::to_string(added.time_embed_dim) + ")");
  }
  return added;
}

void require_divisors(const UNetConfig& config, const JsonReader& reader) {
  for (const UNetLevel& level : config.levels) {
    const std::string of_channels = "a divisor of each of block_out_channels (" + std::to_string(level.channels) + ")";
    if (level.channels % config.num_groups != 0) {
      reader.fail("norm_num_groups", of_channels);
    }
    if (level.channels % level.num_heads != 0) {
      reader.fail(kHeads, of_channels + ", because it is the number of heads");
    }
  }
  if (config.levels.front().channels % 2 != 0) {
    reader.fail("block_out_channels", "an even number first, because it is the size of the timestep's embedding");
  }
}

bool has_mid_block(const JsonReader& reader) {
  const char* const key = "mid_block_type";
  if (reader.has(key) && reader.at(key) != "UNetMidBlock2DCrossAttn") {
    reader.fail(key, "\"UNetMidBlock2DCrossAttn\" or null");
  }
  return !reader.is_null(key);
}

/// The numbers of norms, dropout and the timestep's embedding.
void read_numbers(const JsonReader& reader, UNetConfig& unet) {
  unet.norm_eps = reader.number("norm_eps", 1e-5);
  unet.mid_scale = reader.number("mid_block_scale_factor", 1.0);
  unet.dropout = reader.number("dropout", 0.0);
  unet.freq_shift = reader.number("freq_shift", 0.0);
  if (!(unet.norm_eps > 0.0)) {
    reader.fail("norm_eps", "a positive number");
  }
  if (!(unet.mid_scale > 0.0)) {
    reader.fail("mid_block_scale_factor", "a positive number");
  }
  if (!(unet.dropout >= 0.0 && unet.dropout < 1.0)) {
    reader.fail("dropout", "a number of at least 0 and below 1");
  }
  if (!(unet.freq_shift < static_cast<double>(unet.levels.front().channels / 2))) {
    reader.fail("freq_shift", "below half of the first of block_out_channels");
  }
}

}  // namespace

UNetConfig read_unet_config(const Json& config, const std::string& where) {
  const JsonAccess access;
  const JsonReader reader(config, where, ErrorKind::kModel);
  require_known_parts(config, reader);
  UNetConfig unet{};
  unet.levels = levels_in(reader);
  unet.in_channels = config_size(reader, "in_channels", 4);
  unet.out_channels = config_size(reader, "out_channels", 4);
  if (unet.in_channels != unet.out_channels) {
    reader.fail("in_channels", "out_channels (" + std::to_string(unet.out_channels) + "); inpainting models are not supported");
  }
  unet.has_mid_block = has_mid_block(reader);
  unet.cross_attention_dim = text_channels_in(reader, unet.levels.size());
  unet.linear_projection = reader.boolean("use_linear_projection", false);
  unet.added = added_in(reader);
  unet.num_groups = config_size(reader, "norm_num_groups", reader.is_null("norm_num_groups") ? 0 : 32);
  unet.cosine_first = reader.boolean("flip_sin_to_cos", true);
  if (const std::string act = reader.string("act_fn", "silu"); act != "silu" && act != "swish") {
    reader.fail("act_fn", "\"silu\"");
  }
  read_numbers(reader, unet);
  require_divisors(unet, reader);
  note_idle_keys(reader);
  warn_of_unread_keys(config, where, access, "UNet2DConditionModel");
  return unet;
}

}  // namespace lora::diffusion

#include "diffusion/ldm_names.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include "lora/base/text.h"

namespace lora::diffusion {

namespace {

using Renaming = std::pair<std::string_view, std::string_view>;

/// The name with the first of these beginnings replaced; none if there is none of them.
template <size_t kSize>
std::optional<std::string> with_other_begin(std::string_view name, const std::array<Renaming, kSize>& beginnings) {
  for (const auto& [from, to] : beginnings) {
    if (name.starts_with(from)) {
      return std::string(to) + std::string(name.substr(from.size()));
    }
  }
  return std::nullopt;
}

/// The number at the start of `name` and the dot after it, which are removed; none if there is none.
std::optional<int64_t> take_number(std::string_view& name) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  const auto size = static_cast<size_t>(end - name.data());
  if (error != std::errc() || number < 0 || number > 999 || size >= name.size() || name[size] != '.') {
    return std::nullopt;
  }
  name.remove_prefix(size + 1);
  return number;
}

/// Within a resnet of the UNet.
std::string in_resnet(std::string_view name) {
  static constexpr std::array<Renaming, 6> kParts{{{"in_layers.0.", "norm1."},
                                                   {"in_layers.2.", "conv1."},
                                                   {"emb_layers.1.", "time_emb_proj."},
                                                   {"out_layers.0.", "norm2."},
                                                   {"out_layers.3.", "conv2."},
                                                   {"skip_connection.", "conv_shortcut."}}};
  return with_other_begin(name, kParts).value_or(std::string(name));
}

constexpr int64_t kPerBlock = 3;  ///< entries of input_blocks and output_blocks for each block: two layers and what changes the size

std::string numbered(const char* list, int64_t block, const char* part, int64_t layer, const std::string& rest) {
  return std::string(list) + std::to_string(block) + "." + part + "." + std::to_string(layer) + "." + rest;
}

/// "i.part.rest" of input_blocks.
std::optional<std::string> input_block(std::string_view name) {
  const std::optional<int64_t> entry = take_number(name);
  const std::optional<int64_t> part = take_number(name);
  if (!entry || !part || *part > 1 || (*entry == 0 && *part != 0)) {
    return std::nullopt;
  }
  if (*entry == 0) {
    return "conv_in." + std::string(name);
  }
  const int64_t block = (*entry - 1) / kPerBlock, layer = (*entry - 1) % kPerBlock;
  if (name.starts_with("op.")) {
    return numbered("down_blocks.", block, "downsamplers", 0, "conv." + std::string(name.substr(3)));
  }
  return *part == 0 ? numbered("down_blocks.", block, "resnets", layer, in_resnet(name))
                    : numbered("down_blocks.", block, "attentions", layer, std::string(name));
}

/// "i.part.rest" of output_blocks.
std::optional<std::string> output_block(std::string_view name) {
  const std::optional<int64_t> entry = take_number(name);
  const std::optional<int64_t> part = take_number(name);
  if (!entry || !part) {
    return std::nullopt;
  }
  const int64_t block = *entry / kPerBlock, layer = *entry % kPerBlock;
  if (name.starts_with("conv.")) {
    return numbered("up_blocks.", block, "upsamplers", 0, std::string(name));
  }
  return *part == 0 ? numbered("up_blocks.", block, "resnets", layer, in_resnet(name))
                    : numbered("up_blocks.", block, "attentions", layer, std::string(name));
}

/// "part.rest" of middle_block.
std::optional<std::string> middle_block(std::string_view name) {
  const std::optional<int64_t> part = take_number(name);
  if (!part || *part > 2) {
    return std::nullopt;
  }
  return *part == 1 ? "mid_block.attentions.0." + std::string(name)
                    : "mid_block.resnets." + std::to_string(*part / 2) + "." + in_resnet(name);
}

/// Within one side of an autoencoder, "encoder." or "decoder.".
std::string in_autoencoder(std::string_view name, int64_t num_levels) {
  static constexpr std::array<Renaming, 8> kNames{{{"mid.block_1.", "mid_block.resnets.0."},
                                                   {"mid.block_2.", "mid_block.resnets.1."},
                                                   {"mid.attn_1.norm.", "mid_block.attentions.0.group_norm."},
                                                   {"mid.attn_1.q.", "mid_block.attentions.0.to_q."},
                                                   {"mid.attn_1.k.", "mid_block.attentions.0.to_k."},
                                                   {"mid.attn_1.v.", "mid_block.attentions.0.to_v."},
                                                   {"mid.attn_1.proj_out.", "mid_block.attentions.0.to_out.0."},
                                                   {"norm_out.", "conv_norm_out."}}};
  if (const auto known = with_other_begin(name, kNames)) {
    return *known;
  }
  const bool is_down = name.starts_with("down."), is_up = name.starts_with("up.");
  std::string_view rest = name.substr(is_down ? 5 : is_up ? 3 : name.size());
  const std::optional<int64_t> level = take_number(rest);
  if (!level || *level >= num_levels) {
    return std::string(name);
  }
  const std::string block = is_down ? "down_blocks." + std::to_string(*level) : "up_blocks." + std::to_string(num_levels - 1 - *level);
  static constexpr std::array<Renaming, 3> kParts{
      {{"block.", ".resnets."}, {"downsample.", ".downsamplers.0."}, {"upsample.", ".upsamplers.0."}}};
  const auto part = with_other_begin(rest, kParts);
  return part ? block + *part : std::string(name);
}

std::string current_autoencoder_name(std::string_view ldm, int64_t num_levels) {
  for (const std::string_view side : {std::string_view("encoder."), std::string_view("decoder.")}) {
    if (ldm.starts_with(side)) {
      std::string name = std::string(side) + in_autoencoder(ldm.substr(side.size()), num_levels);
      constexpr std::string_view kShortcut = "nin_shortcut";
      if (const size_t at = name.find(kShortcut); at != std::string::npos) {
        name.replace(at, kShortcut.size(), "conv_shortcut");
      }
      return name;
    }
  }
  return std::string(ldm);
}

/// Within a layer of OpenCLIP, apart from in_proj.
std::string in_open_clip_layer(std::string_view name) {
  static constexpr std::array<Renaming, 5> kParts{{{"ln_1.", "layer_norm1."},
                                                   {"ln_2.", "layer_norm2."},
                                                   {"mlp.c_fc.", "mlp.fc1."},
                                                   {"mlp.c_proj.", "mlp.fc2."},
                                                   {"attn.out_proj.", "self_attn.out_proj."}}};
  return with_other_begin(name, kParts).value_or(std::string(name));
}

/// q, k and v of "attn.in_proj_weight" or "attn.in_proj_bias".
void add_thirds(const std::string& layer, const std::string& stored, bool is_weight, int64_t rows, std::vector<TensorView>& views) {
  int64_t index = 0;
  for (const char* part : {"q_proj", "k_proj", "v_proj"}) {
    const std::string name = layer + "self_attn." + part + (is_weight ? ".weight" : ".bias");
    views.push_back({name, stored, ViewKind::kRows, index * (rows / 3), rows / 3});
    ++index;
  }
}

}  // namespace

std::string unet_name(const std::string& ldm) {
  static constexpr std::array<Renaming, 6> kNames{{{"time_embed.0.", "time_embedding.linear_1."},
                                                   {"time_embed.2.", "time_embedding.linear_2."},
                                                   {"label_emb.0.0.", "add_embedding.linear_1."},
                                                   {"label_emb.0.2.", "add_embedding.linear_2."},
                                                   {"out.0.", "conv_norm_out."},
                                                   {"out.2.", "conv_out."}}};
  if (const auto known = with_other_begin(ldm, kNames)) {
    return *known;
  }
  const std::string_view name = ldm;
  std::optional<std::string> found;
  if (name.starts_with("input_blocks.")) {
    found = input_block(name.substr(13));
  } else if (name.starts_with("output_blocks.")) {
    found = output_block(name.substr(14));
  } else if (name.starts_with("middle_block.")) {
    found = middle_block(name.substr(13));
  }
  return found.value_or(ldm);
}

std::vector<TensorView> autoencoder_views(const std::vector<std::string>& names, const std::string& prefix) {
  int64_t num_levels = 0;
  for (const std::string& name : names) {
    if (std::string_view rest = name; name.starts_with(prefix + "decoder.up.")) {
      rest.remove_prefix(prefix.size() + std::string_view("decoder.up.").size());
      num_levels = std::max(num_levels, take_number(rest).value_or(-1) + 1);
    }
  }
  std::vector<TensorView> views;
  for (const std::string& name : names) {
    if (!name.starts_with(prefix)) {
      continue;
    }
    TensorView view{current_autoencoder_name(std::string_view(name).substr(prefix.size()), num_levels), name};
    const bool is_matrix = view.name.find(".attentions.0.to_") != std::string::npos && view.name.ends_with(".weight");
    view.kind = is_matrix ? ViewKind::kMatrix : ViewKind::kWhole;
    views.push_back(std::move(view));
  }
  return views;
}

std::vector<TensorView> open_clip_views(const io::Checkpoint& stored, const std::string& prefix, int64_t num_layers,
                                        bool with_projection) {
  static constexpr std::array<Renaming, 3> kNames{{{"token_embedding.", "text_model.embeddings.token_embedding."},
                                                   {"positional_embedding", "text_model.embeddings.position_embedding.weight"},
                                                   {"ln_final.", "text_model.final_layer_norm."}}};
  std::vector<TensorView> views;
  for (const std::string& name : stored.names()) {
    if (!name.starts_with(prefix)) {
      continue;
    }
    std::string_view rest = std::string_view(name).substr(prefix.size());
    if (const auto known = with_other_begin(rest, kNames)) {
      views.push_back({*known, name});
    } else if (rest == "text_projection" && with_projection) {
      views.push_back({"text_projection.weight", name, ViewKind::kTransposed});
    } else if (rest.starts_with("transformer.resblocks.")) {
      rest.remove_prefix(std::string_view("transformer.resblocks.").size());
      const std::optional<int64_t> number = take_number(rest);
      if (!number || *number >= num_layers) {
        continue;
      }
      const std::string layer = "text_model.encoder.layers." + std::to_string(*number) + ".";
      if (rest.starts_with("attn.in_proj_")) {
        const std::vector<int64_t> shape = stored.facts(name).shape;
        add_thirds(layer, name, rest.ends_with("weight"), shape.empty() ? 0 : shape[0], views);
      } else {
        views.push_back({layer + in_open_clip_layer(rest), name});
      }
    }
  }
  return views;
}

}  // namespace lora::diffusion

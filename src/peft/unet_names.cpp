#include "peft/unet_names.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "lora/base/text.h"

namespace lora::peft {

namespace {

constexpr int kUnetBlocks = 4, kLayers = 4, kTransformerBlocks = 10, kTextLayers = 48;
constexpr int kOriginalLayers = 3;  ///< of a block in the original numbering: two, and the one that changes the resolution

/// Parts of modules by diffusers' name and by the original one.
using PartNames = std::pair<const char*, const char*>;
constexpr std::array<PartNames, 4> kResnetParts{
    {{"conv1", "in_layers.2"}, {"conv2", "out_layers.3"}, {"time_emb_proj", "emb_layers.1"}, {"conv_shortcut", "skip_connection"}}};
constexpr std::array<PartNames, 6> kOutside{{{"conv_in", "input_blocks.0.0"},
                                             {"conv_out", "out.2"},
                                             {"time_embedding.linear_1", "time_embed.0"},
                                             {"time_embedding.linear_2", "time_embed.2"},
                                             {"add_embedding.linear_1", "label_emb.0.0"},
                                             {"add_embedding.linear_2", "label_emb.0.2"}}};
constexpr std::array<const char*, 10> kTransformerParts{"attn1.to_q", "attn1.to_k", "attn1.to_v",     "attn1.to_out.0", "attn2.to_q",
                                                        "attn2.to_k", "attn2.to_v", "attn2.to_out.0", "ff.net.0.proj",  "ff.net.2"};
constexpr std::array<const char*, 6> kClipParts{"self_attn.q_proj",   "self_attn.k_proj", "self_attn.v_proj",
                                                "self_attn.out_proj", "mlp.fc1",          "mlp.fc2"};

std::string numbered(const std::string& name, int number) {
  return name + "." + std::to_string(number);
}

/// @param block "mid_block" for example.
void add_resnet(const std::string& block, int layer, std::vector<std::string>& modules) {
  for (const auto& [part, original] : kResnetParts) {
    modules.push_back(numbered(block + ".resnets", layer) + "." + part);
  }
}

void add_attention(const std::string& block, int layer, std::vector<std::string>& modules) {
  const std::string attention = numbered(block + ".attentions", layer);
  modules.push_back(attention + ".proj_in");
  modules.push_back(attention + ".proj_out");
  for (int i = 0; i < kTransformerBlocks; ++i) {
    for (const char* part : kTransformerParts) {
      modules.push_back(numbered(attention + ".transformer_blocks", i) + "." + part);
    }
  }
}

std::vector<std::string> all_unet_modules() {
  std::vector<std::string> modules;
  for (const auto& [name, original] : kOutside) {
    modules.emplace_back(name);
  }
  for (int block = 0; block < kUnetBlocks; ++block) {
    const std::string down = numbered("down_blocks", block), up = numbered("up_blocks", block);
    for (int layer = 0; layer < kLayers; ++layer) {
      for (const std::string& block : {down, up}) {
        add_resnet(block, layer, modules);
        add_attention(block, layer, modules);
      }
    }
    modules.push_back(down + ".downsamplers.0.conv");
    modules.push_back(up + ".upsamplers.0.conv");
  }
  add_resnet("mid_block", 0, modules);
  add_attention("mid_block", 0, modules);
  add_resnet("mid_block", 1, modules);
  return modules;
}

std::vector<std::string> all_clip_text_modules() {
  std::vector<std::string> modules{"text_projection"};
  for (int layer = 0; layer < kTextLayers; ++layer) {
    for (const char* part : kClipParts) {
      modules.push_back(numbered("text_model.encoder.layers", layer) + "." + part);
    }
  }
  return modules;
}

template <size_t N>
std::optional<std::string> original_part(const std::array<PartNames, N>& parts, const std::string& name) {
  const auto* const found = std::find_if(parts.begin(), parts.end(), [&name](const PartNames& part) { return part.first == name; });
  return found == parts.end() ? std::nullopt : std::optional<std::string>(found->second);
}

/// The original place of a resnet or an attention ("resnets", "attentions") of a layer, or empty if there is none.
std::string original_layer(const std::string& block, int number, const std::string& kind, int layer) {
  const int place = kind == "resnets" ? 0 : 1;
  if (block == "mid_block") {
    return numbered("middle_block", place == 1 ? 1 : 2 * layer);
  }
  if (block == "down_blocks") {
    return layer < kOriginalLayers - 1 ? numbered(numbered("input_blocks", 1 + kOriginalLayers * number + layer), place) : "";
  }
  return layer < kOriginalLayers ? numbered(numbered("output_blocks", kOriginalLayers * number + layer), place) : "";
}

}  // namespace

const std::vector<std::string>& unet_modules() {
  static const std::vector<std::string> kModules = all_unet_modules();
  return kModules;
}

const std::vector<std::string>& clip_text_modules() {
  static const std::vector<std::string> kModules = all_clip_text_modules();
  return kModules;
}

std::string original_unet_name(const std::string& module) {
  if (const std::optional<std::string> outside = original_part(kOutside, module)) {
    return *outside;
  }
  const std::vector<std::string> path = split(module, '.');
  const size_t numbers = path.front() == "mid_block" ? 0 : 1;  // the other blocks have a number
  if (path.size() < 4 + numbers) {
    return "";
  }
  const int number = numbers > 0 ? std::stoi(path[1]) : 0;
  const std::string& kind = path[1 + numbers];
  if (kind == "downsamplers") {
    return numbered("input_blocks", kOriginalLayers * (number + 1)) + ".0.op";
  }
  if (kind == "upsamplers") {
    return numbered("output_blocks", kOriginalLayers * number + kOriginalLayers - 1) + ".2.conv";
  }
  const std::string layer = original_layer(path.front(), number, kind, std::stoi(path[2 + numbers]));
  const std::string rest = join({path.begin() + static_cast<std::ptrdiff_t>(3 + numbers), path.end()}, ".");
  return layer.empty() ? "" : layer + "." + (kind == "resnets" ? original_part(kResnetParts, rest).value_or("") : rest);
}

}  // namespace lora::peft

#include "peft/transformer_names.h"

#include <algorithm>
#include <map>

namespace lora::peft {

namespace {

constexpr int kMostBlocks = 40;  ///< FLUX.1 has 19 and 38, Stable Diffusion 3 at most 38

const std::vector<OriginalModule> kDoubleBlock{{"img_attn.qkv", {"attn.to_q", "attn.to_k", "attn.to_v"}},
                                               {"txt_attn.qkv", {"attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"}},
                                               {"img_attn.proj", {"attn.to_out.0"}},
                                               {"txt_attn.proj", {"attn.to_add_out"}},
                                               {"img_mlp.0", {"ff.net.0.proj"}},
                                               {"img_mlp.2", {"ff.net.2"}},
                                               {"txt_mlp.0", {"ff_context.net.0.proj"}},
                                               {"txt_mlp.2", {"ff_context.net.2"}},
                                               {"img_mod.lin", {"norm1.linear"}},
                                               {"txt_mod.lin", {"norm1_context.linear"}}};
const std::vector<OriginalModule> kSingleBlock{{"linear1", {"attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"}},
                                               {"linear2", {"proj_out"}},
                                               {"modulation.lin", {"norm.linear"}}};
const std::vector<OriginalModule> kJointBlock{{"x_block.attn.qkv", {"attn.to_q", "attn.to_k", "attn.to_v"}},
                                              {"context_block.attn.qkv", {"attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"}},
                                              {"x_block.attn2.qkv", {"attn2.to_q", "attn2.to_k", "attn2.to_v"}},
                                              {"x_block.attn.proj", {"attn.to_out.0"}},
                                              {"context_block.attn.proj", {"attn.to_add_out"}},
                                              {"x_block.attn2.proj", {"attn2.to_out.0"}},
                                              {"x_block.mlp.fc1", {"ff.net.0.proj"}},
                                              {"x_block.mlp.fc2", {"ff.net.2"}},
                                              {"context_block.mlp.fc1", {"ff_context.net.0.proj"}},
                                              {"context_block.mlp.fc2", {"ff_context.net.2"}},
                                              {"x_block.adaLN_modulation.1", {"norm1.linear"}},
                                              {"context_block.adaLN_modulation.1", {"norm1_context.linear"}}};
const std::vector<OriginalModule> kFluxOutside{{"img_in", {"x_embedder"}},
                                               {"txt_in", {"context_embedder"}},
                                               {"time_in.in_layer", {"time_text_embed.timestep_embedder.linear_1"}},
                                               {"time_in.out_layer", {"time_text_embed.timestep_embedder.linear_2"}},
                                               {"vector_in.in_layer", {"time_text_embed.text_embedder.linear_1"}},
                                               {"vector_in.out_layer", {"time_text_embed.text_embedder.linear_2"}},
                                               {"guidance_in.in_layer", {"time_text_embed.guidance_embedder.linear_1"}},
                                               {"guidance_in.out_layer", {"time_text_embed.guidance_embedder.linear_2"}},
                                               {"final_layer.linear", {"proj_out"}},
                                               {"final_layer.adaLN_modulation.1", {"norm_out.linear"}}};
const std::vector<OriginalModule> kSd3Outside{{"x_embedder.proj", {"pos_embed.proj"}},
                                              {"context_embedder", {"context_embedder"}},
                                              {"t_embedder.mlp.0", {"time_text_embed.timestep_embedder.linear_1"}},
                                              {"t_embedder.mlp.2", {"time_text_embed.timestep_embedder.linear_2"}},
                                              {"y_embedder.mlp.0", {"time_text_embed.text_embedder.linear_1"}},
                                              {"y_embedder.mlp.2", {"time_text_embed.text_embedder.linear_2"}},
                                              {"final_layer.linear", {"proj_out"}},
                                              {"final_layer.adaLN_modulation.1", {"norm_out.linear"}}};

/// @param list "double_blocks" for example. @param parts_list diffusers' name of it.
void add_blocks(const std::string& list, const std::string& parts_list, const std::vector<OriginalModule>& block,
                std::vector<OriginalModule>& all) {
  for (int number = 0; number < kMostBlocks; ++number) {
    const std::string place = "." + std::to_string(number) + ".";
    for (const OriginalModule& module : block) {
      all.push_back({list + place + module.name, {}});
      for (const std::string& part : module.parts) {
        all.back().parts.push_back(parts_list + place + part);
      }
    }
  }
}

}  // namespace

const std::vector<OriginalModule>& flux_modules() {
  static const std::vector<OriginalModule> kModules = [] {
    std::vector<OriginalModule> all = kFluxOutside;
    add_blocks("double_blocks", "transformer_blocks", kDoubleBlock, all);
    add_blocks("single_blocks", "single_transformer_blocks", kSingleBlock, all);
    return all;
  }();
  return kModules;
}

const std::vector<OriginalModule>& sd3_modules() {
  static const std::vector<OriginalModule> kModules = [] {
    std::vector<OriginalModule> all = kSd3Outside;
    add_blocks("joint_blocks", "transformer_blocks", kJointBlock, all);
    return all;
  }();
  return kModules;
}

const OriginalModule* original_module(const std::string& name) {
  static const std::map<std::string, const OriginalModule*> kByName = [] {
    std::map<std::string, const OriginalModule*> all;
    for (const std::vector<OriginalModule>* modules : {&flux_modules(), &sd3_modules()}) {
      for (const OriginalModule& module : *modules) {
        all.emplace(module.name, &module);  // those of both have the same parts
      }
    }
    return all;
  }();
  const auto found = kByName.find(name);
  return found == kByName.end() ? nullptr : found->second;
}

bool is_part_of(const std::string& module, const std::vector<OriginalModule>& modules) {
  return std::any_of(modules.begin(), modules.end(), [&module](const OriginalModule& original) {
    return std::find(original.parts.begin(), original.parts.end(), module) != original.parts.end();
  });
}

}  // namespace lora::peft

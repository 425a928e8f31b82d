#include "lora/peft/pipeline_adapter.h"

#include <algorithm>
#include <array>

#include "lora/base/error.h"
#include "peft/update_forms.h"

namespace lora::peft {

namespace {

constexpr const char* kUnetComponent = "unet";
constexpr const char* kTransformerComponent = "transformer";
constexpr std::string_view kTextEncoder = "text_encoder";
constexpr std::string_view kTextModel = "text_model.";

/// What the names of a UNet's modules begin with; no language model has them.
constexpr std::array<std::string_view, 7> kUnetStarts{"down_blocks.", "mid_block.",      "up_blocks.",    "conv_in",
                                                      "conv_out",     "time_embedding.", "add_embedding."};
constexpr std::array<std::string_view, 2> kTransformerStarts{"transformer_blocks.", "single_transformer_blocks."};
/// Those of the rest of such a transformer, which other models may have too.
constexpr std::array<std::string_view, 6> kTransformerEnds{"pos_embed.", "x_embedder.", "time_text_embed.",
                                                           "context_embedder.", "norm_out.", "proj_out."};

template <size_t N>
bool starts_with_any(const std::string& name, const std::array<std::string_view, N>& starts) {
  return std::any_of(starts.begin(), starts.end(), [&name](std::string_view start) { return name.starts_with(start); });
}

bool needs_settling(const Adapter& adapter) {
  return changes_base(adapter.options.init);
}

/// The adapter of one component.
ComponentAdapter component_part(const Adapter& adapter, const std::string& component) {
  ComponentAdapter part{component, adapter};
  part.adapter.updates.clear();
  list_targets(part.adapter.options);
  part.adapter.options.target_modules.kind = ModuleChoice::Kind::kList;
  part.adapter.options.has_task = false;
  std::string with_magnitude, without;
  for (AdapterUpdate update : adapter.updates) {
    if (component_of(module_of(update)) != component) {
      continue;
    }
    if (const auto* const pair = std::get_if<LowRankUpdate>(&update)) {
      (pair->magnitude_O ? with_magnitude : without) = pair->module;
    }
    rename_module(update, module_of(update).substr(component.size() + 1));
    if (!std::holds_alternative<HeldTensor>(update)) {
      part.adapter.options.target_modules.names.push_back(target_of(module_of(update)));
    }
    part.adapter.updates.push_back(std::move(update));
  }
  if (!with_magnitude.empty() && !without.empty()) {
    model_error(adapter.weights_file.string(),
                "only some modules have a magnitude (DoRA), but PEFT's use_dora is for all of them: found '" + with_magnitude +
                    "' with one and '" + without + "' without");
  }
  part.adapter.options.use_dora = !with_magnitude.empty();
  return part;
}

}  // namespace

const std::vector<std::string>& pipeline_components() {
  static const std::vector<std::string> kComponents{kUnetComponent, kTransformerComponent, "text_encoder", "text_encoder_2",
                                                    "text_encoder_3"};
  return kComponents;
}

std::string component_of(const std::string& name) {
  const std::string first = name.substr(0, name.find('.'));
  const std::vector<std::string>& all = pipeline_components();
  const bool is_component = first.size() < name.size() && std::find(all.begin(), all.end(), first) != all.end();
  // GPT-2's modules begin with "transformer." too.
  if (is_component && first == kTransformerComponent) {
    const std::string module = name.substr(first.size() + 1) + ".";  // some modules have these names themselves
    return starts_with_any(module, kTransformerStarts) || starts_with_any(module, kTransformerEnds) ? first : "";
  }
  return is_component ? first : "";
}

std::string pipeline_name(const std::string& component, const std::string& module) {
  const bool lacks_model =
      component.starts_with(kTextEncoder) && (module.starts_with("encoder.layers.") || module.starts_with("embeddings."));
  return component + "." + (lacks_model ? std::string(kTextModel) : "") + module;
}

std::string target_of(const std::string& module) {
  return module.starts_with(kTextModel) ? module.substr(kTextModel.size()) : module;
}

bool is_unet_module(const std::string& module) {
  return starts_with_any(module, kUnetStarts);
}

bool is_of_pipeline(const Adapter& adapter) {
  return !adapter.updates.empty() && !component_of(module_of(adapter.updates.front())).empty();
}

std::string network_of_folder(const Adapter& adapter) {
  for (const AdapterUpdate& update : adapter.updates) {
    const std::string module = module_of(update);
    if (is_unet_module(module)) {
      return kUnetComponent;
    }
    if (starts_with_any(module, kTransformerStarts)) {
      return kTransformerComponent;
    }
  }
  return "";
}

Adapter joined(std::vector<ComponentAdapter> parts) {
  Adapter result = parts.front().adapter;
  result.updates.clear();
  list_targets(result.options);
  const bool all_rslora = std::all_of(parts.begin(), parts.end(), [](const auto& part) { return part.adapter.options.use_rslora; });
  result.options.use_rslora = all_rslora;
  for (ComponentAdapter& part : parts) {
    if (needs_settling(part.adapter) != needs_settling(result)) {
      model_error(part.adapter.weights_file.string(),
                  "has another kind of init_lora_weights than the pipeline's other adapters: only one of them fits the unchanged base");
    }
    result.options.use_dora = result.options.use_dora || part.adapter.options.use_dora;
    result.options.lora_bias = result.options.lora_bias || part.adapter.options.lora_bias;
    for (AdapterUpdate& update : part.adapter.updates) {
      rename_module(update, pipeline_name(part.component, module_of(update)));
      auto* const pair = std::get_if<LowRankUpdate>(&update);
      if (pair != nullptr && !all_rslora) {
        pair->alpha = plain_alpha(*pair);
      }
      result.updates.push_back(std::move(update));
    }
  }
  return result;
}

std::vector<ComponentAdapter> divided(const Adapter& adapter) {
  std::vector<ComponentAdapter> parts;
  for (const std::string& component : pipeline_components()) {
    ComponentAdapter part = component_part(adapter, component);
    if (!part.adapter.updates.empty()) {
      parts.push_back(std::move(part));
    }
  }
  return parts;
}

std::filesystem::path component_folder(const std::filesystem::path& folder, const std::string& component) {
  return component.starts_with(kTextEncoder) ? folder / component : folder;
}

}  // namespace lora::peft

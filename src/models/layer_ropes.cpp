#include "models/layer_ropes.h"

#include "lora/base/log.h"

namespace lora::models {

namespace {

/// The section of one kind, overridden by rope_scaling. Every key counts as read, as only one of the two remains.
Json section_of(const JsonReader& config, const char* kind, bool is_scaled) {
  Json section{{"rope_type", "default"}};
  const bool has_sections = config.has("rope_parameters");
  if (has_sections && config.object("rope_parameters").has(kind)) {
    const JsonReader own = config.object("rope_parameters").object(kind);
    section = config.at("rope_parameters").at(kind);
    for (const auto& [key, value] : section.items()) {
      own.has(key);
    }
  }
  if (!is_scaled || !config.has("rope_scaling")) {
    return section;
  }
  const JsonReader scaling = config.object("rope_scaling");
  for (const auto& [key, value] : config.at("rope_scaling").items()) {
    if (scaling.has(key)) {
      section[key] = value;
    }
  }
  return section;
}

void warn_of_odd_scaling(const JsonReader& config) {
  if (!config.has("rope_scaling")) {
    return;
  }
  const JsonReader scaling = config.object("rope_scaling");
  if (scaling.has("type") && !scaling.has("rope_type")) {
    log::warn("[" + config.where() + "] rope_scaling: this family ignores its 'type', as in transformers 5. Write 'rope_type'.");
  } else if (config.has("rope_parameters")) {
    log::warn("[" + config.where() + "] rope_scaling overrides keys of rope_parameters, as in transformers 5");
  }
}

}  // namespace

std::vector<nn::RopeOptions> read_layer_ropes(const JsonReader& config, int64_t head_dim, int64_t max_positions, const LayerRopes& ropes) {
  const auto read = [&](const char* kind, bool is_scaled, const char* theta_key, double theta) {
    const Json section = section_of(config, kind, is_scaled);
    const JsonReader reader(section, config.where() + ": rope_parameters." + kind, ErrorKind::kModel);
    return nn::read_rope_section(reader, config, head_dim, max_positions, {.theta = theta, .theta_key = theta_key});
  };
  warn_of_odd_scaling(config);
  return {read("full_attention", true, ropes.full_theta_key, ropes.full_theta),
          read("sliding_attention", ropes.scales_both, ropes.sliding_theta_key, ropes.sliding_theta)};
}

}  // namespace lora::models

#include "diffusion/flow_config.h"

namespace lora::diffusion {

namespace {

constexpr int64_t kMostFlowTimesteps = 1000000;  // more is a damaged file

void refuse_other_forms(const JsonReader& config) {
  const char* const name = "FlowMatchEulerDiscreteScheduler";
  if (config.string("_class_name", "") != name) {
    config.fail("_class_name", std::string("\"") + name + "\"");
  }
  for (const char* key : {"invert_sigmas", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "stochastic_sampling"}) {
    if (config.boolean(key, false)) {
      config.fail(key, "false, because no other form of this scheduler is known here");
    }
  }
  if (config.has("shift_terminal") && config.at("shift_terminal") != 0) {
    config.fail("shift_terminal", "null, because no other form of this scheduler is known here");
  }
}

}  // namespace

FlowConfig read_flow_config(const JsonReader& config) {
  refuse_other_forms(config);
  FlowConfig own{};
  own.num_timesteps = config.integer("num_train_timesteps", 1000);
  if (own.num_timesteps < 2 || own.num_timesteps > kMostFlowTimesteps) {
    config.fail("num_train_timesteps", "a number from 2 to " + std::to_string(kMostFlowTimesteps));
  }
  own.shift = config.number("shift", 1.0);
  if (!(own.shift > 0)) {
    config.fail("shift", "a number above 0");
  }
  own.shifts_by_size = config.boolean("use_dynamic_shifting", false);
  own.base_shift = config.number("base_shift", 0.5);
  own.max_shift = config.number("max_shift", 1.15);
  own.base_patches = config.integer("base_image_seq_len", 256);
  own.max_patches = config.integer("max_image_seq_len", 4096);
  if (own.max_patches <= own.base_patches) {
    config.fail("max_image_seq_len", "more than base_image_seq_len (" + std::to_string(own.base_patches) + ")");
  }
  const std::string type = config.string("time_shift_type", "exponential");
  if (type != "exponential" && type != "linear") {
    config.fail("time_shift_type", "\"exponential\" or \"linear\"");
  }
  own.is_linear = type == "linear";
  return own;
}

}  // namespace lora::diffusion

#include "lora/diffusion/training_schedule.h"

#include "lora/diffusion/flow_schedule.h"
#include "lora/diffusion/noise_schedule.h"

namespace lora::diffusion {

bool is_flow_matching(const JsonReader& config) {
  return config.string("_class_name", "").starts_with("FlowMatch");
}

std::unique_ptr<const TrainingSchedule> make_training_schedule(const JsonReader& config) {
  if (is_flow_matching(config)) {
    return std::make_unique<const FlowSchedule>(config);
  }
  return std::make_unique<const NoiseSchedule>(config);
}

}  // namespace lora::diffusion

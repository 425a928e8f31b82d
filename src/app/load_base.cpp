#include "app/load_base.h"

#include "lora/torchscript/load.h"

namespace lora::app {

models::BaseModel load_base(const models::ModelOptions& options, uint64_t seed) {
  return options.is_torchscript() ? torchscript::load_model(options) : models::load_base_model(options, seed);
}

}  // namespace lora::app

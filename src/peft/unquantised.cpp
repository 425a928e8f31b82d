#include "peft/unquantised.h"

#include "lora/base/error.h"

namespace lora::peft {

void require_unquantised(const nn::BaseWeight& weight, const std::string& key, const std::string& wish, const std::string& remedy) {
  if (weight.is_quantised()) {
    config_error(key, wish + ": found '" + weight.parameter().name + "', which is quantised, expected plain numbers. " + remedy);
  }
}

}  // namespace lora::peft

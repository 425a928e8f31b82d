#include "models/ungated_mlp.h"

#include "lora/nn/activation.h"
#include "models/config_keys.h"

namespace lora::models {

MlpOptions read_ungated_mlp(const JsonReader& config, bool bias) {
  const int64_t hidden_size = read_size(config, "hidden_size"), inner = read_size(config, "intermediate_size");
  return {{hidden_size, inner, bias},
          {inner, hidden_size, bias},
          "up_proj",
          "down_proj",
          nn::find_activation(config.string("hidden_act", "relu2"), config.where() + ": hidden_act")};
}

}  // namespace lora::models

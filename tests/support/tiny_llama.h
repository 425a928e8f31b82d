#pragma once
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/models/base_model.h"
#include "support/single_thread.h"
#include "support/temporary_folder.h"

namespace lora::test {

/// config.json of a Llama with 3 layers, small enough for any test.
inline Json tiny_llama_config() {
  return Json::parse(R"({"model_type": "llama", "vocab_size": 50, "hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 3,
                         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-6,
                         "rope_theta": 10000.0, "initializer_range": 0.1, "torch_dtype": "float32"})");
}

/// A model of that shape with random weights, the same for the same seed; `changes` replace keys of config.json.
inline models::BaseModel tiny_llama(const Json& changes = Json::object(), uint64_t seed = 1) {
  Json config = tiny_llama_config();
  config.update(changes);
  const TemporaryFolder folder;
  folder.write("config.json", config.dump());
  models::ModelOptions options;
  options.path = folder.path();
  options.device = "cpu";
  options.from_scratch = true;
  return models::load_base_model(options, seed);
}

}  // namespace lora::test

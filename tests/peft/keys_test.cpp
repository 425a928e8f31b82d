#include "peft/keys.h"

#include <gtest/gtest.h>

namespace lora::peft {
namespace {

/// "name role" of a key, with " copy" for a copy; "idle" for an unused tensor; "" for a key that is not understood.
std::string meaning(const AdapterKeys& keys, const std::string& key) {
  const std::optional<AdapterKey> parsed = keys.parse(key);
  if (!parsed) {
    return "";
  }
  if (parsed->is_idle) {
    return "idle";
  }
  const std::string kind = is_of_pair(parsed->role)                    ? " pair"
                           : parsed->role == ParameterRole::kTokenRows ? " rows"
                           : parsed->of_base                           ? " base"
                                                                       : " trained";
  return parsed->name() + kind + (parsed->is_copy ? " copy" : "");
}

TEST(AdapterKeys, AreParsedInEverySpelling) {
  AdapterKeys keys(Json{{"modules_to_save", {"classifier", "lm_head"}}, {"bias", "lora_only"}});
  keys.set_adapter_name("mine");
  const std::vector<std::pair<std::string, std::string>> meanings{
      {"base_model.model.q.lora_A.weight", "q.lora_A.weight pair"},
      {"base_model.model.q.lora_B.mine.weight", "q.lora_B.weight pair"},
      {"base_model.model.q.lora_B.bias", "q.lora_B.bias pair"},
      {"base_model.model.q.lora_B.mine.bias", "q.lora_B.bias pair"},
      {"base_model.model.e.lora_embedding_A", "e.lora_embedding_A pair"},
      {"base_model.model.e.lora_embedding_B.mine", "e.lora_embedding_B pair"},
      {"base_model.model.q.lora_magnitude_vector", "q.lora_magnitude_vector pair"},
      {"base_model.model.q.lora_magnitude_vector.weight", "q.lora_magnitude_vector pair"},
      {"base_model.model.q.lora_magnitude_vector.mine.weight", "q.lora_magnitude_vector pair"},
      {"base_model.model.base_model.model.q.lora_A.weight", "q.lora_A.weight pair"},
      {"_orig_mod.module.base_model.model.q.lora_A.weight", "q.lora_A.weight pair"},
      {"layers.0._fsdp_wrapped_module.q.lora_A.weight", "layers.0.q.lora_A.weight pair"},
      {"base_model.model.e.token_adapter.trainable_tokens_delta", "e.token_adapter.trainable_tokens_delta rows"},
      {"base_model.model.e.token_adapter.trainable_tokens_delta.mine", "e.token_adapter.trainable_tokens_delta rows"},
      {"base_model.model.e.token_adapter.base_layer.weight", "e.weight base"},
      {"base_model.model.e.token_adapter.trainable_tokens_original.mine", "idle"},
      {"base_model.model.e.weight", "e.weight base"},
      {"base_model.model.q.base_layer.weight", "q.weight base"},
      {"base_model.model.q.base_layer.bias", "q.bias trained"},
      {"base_model.model.q.bias", "q.bias trained"},
      {"base_model.model.lm_head.weight", "lm_head.weight trained"},
      {"base_model.model.lm_head.modules_to_save.weight", "lm_head.weight trained copy"},
      {"base_model.model.lm_head.original_module.weight", "idle"},
      {"base_model.model.classifier.modules_to_save.mine.dense.weight", "classifier.dense.weight trained copy"},
      {"base_model.model.classifier.dense.weight", "classifier.dense.weight trained"},
      // Keys of other methods and other tools, and damaged keys.
      {"base_model.model.q.lora_A", ""},
      {"base_model.model.q.lora_A.mine.weight.more", ""},
      {"base_model.model.q.lora_A.bias.more", ""},
      {"base_model.model.q.lora_E", ""},
      {"base_model.model.q.lora_router.weight", ""},
      {"base_model.model.q.hada_w1_a", "q.hada_w1_a trained"},
      {"base_model.model.q.oft_R.weight", "q.oft_R.weight trained"},
      {"base_model.vera_A", "vera_A trained"},
      {"base_model.model.q.vera_A", "idle"},
      {"base_model.model.q.hada_w3_a", ""},
      {"base_model.model.e.token_adapter.more", ""},
      {"base_model.model.weight", ""},
      {"model.e.weight", ""},
      {"lora_A.weight", ""},
      {"prompt_embeddings", ""},
      {"", ""},
      {"...", ""},
  };
  for (const auto& [key, expected] : meanings) {
    EXPECT_EQ(meaning(keys, key), expected) << key;
  }
  const AdapterKeys adalora(Json{{"peft_type", "ADALORA"}});
  EXPECT_EQ(meaning(adalora, "base_model.model.q.lora_A"), "q.lora_A trained");
  EXPECT_EQ(meaning(adalora, "base_model.model.q.lora_E"), "q.lora_E trained");
  EXPECT_EQ(meaning(adalora, "base_model.model.q.lora_R"), "");
  EXPECT_EQ(AdapterKeys::adapter_name("base_model.model.q.lora_A.mine.weight"), "mine");
  EXPECT_EQ(AdapterKeys::adapter_name("base_model.model.q.lora_A.weight"), "");
}

/// A written key is read as what it was written for.
TEST(AdapterKeys, AreReadAsTheyAreWritten) {
  const AdapterKeys keys(Json::object());
  for (const ParameterRole role :
       {ParameterRole::kLowRankA, ParameterRole::kLowRankB, ParameterRole::kLowRankBias, ParameterRole::kMagnitude,
        ParameterRole::kEmbeddingA, ParameterRole::kEmbeddingB, ParameterRole::kTokenRows}) {
    const std::string name = tensor_name("model.q_proj", role);
    const std::optional<AdapterKey> key = keys.parse(file_key(name));
    ASSERT_TRUE(key) << name;
    EXPECT_EQ(key->role, role) << name;
    EXPECT_EQ(key->module, "model.q_proj");
    EXPECT_EQ(key->name(), name);
  }
}

/// PEFT before 0.6 did not list the head that a task adds in modules_to_save.
TEST(AdapterKeys, TheHeadOfATaskIsTrained) {
  const AdapterKeys keys(Json{{"modules_to_save", nullptr}, {"task_type", "SEQ_CLS"}});
  EXPECT_EQ(meaning(keys, "base_model.model.score.weight"), "score.weight trained");
  EXPECT_EQ(meaning(keys, "base_model.model.classifier.bias"), "classifier.bias trained");
  EXPECT_EQ(meaning(keys, "base_model.model.lm_head.weight"), "lm_head.weight base");
}

}  // namespace
}  // namespace lora::peft

#include "config/unknown_key.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "expected_findings.h"

namespace lora::config {
namespace {

TEST(Findings, UnknownKeys) {
  expect_findings({
      {"lora_rank=8", "[lora_rank] unknown key: write 'adapter.r' (the name is another tool's)"},
      {"adapter.lora_rank=8", "[adapter.lora_rank] unknown key: write 'adapter.r' (the name is another tool's)"},
      {"training.micro-batch-size=8", "…write 'training.per_device_train_batch_size'"},
      {"training.bf16=true", "[training.bf16] unknown key: write 'model.dtype', \"bfloat16\" (the name is another tool's)"},
      {"data.train.0.max_samples=3", "…write 'data.train[].limit'"},
      {"training.resume_from_checkpoint=true", "…--resume auto|never|DIR"},
      {"learning_rate=3", "[learning_rate] unknown key here: it belongs at 'training.learning_rate'"},
      {"training.r=3", "[training.r] unknown key here: it belongs at 'adapter.r'"},
      {"data.path=x", "[data.path] unknown key here: it belongs at 'model.path' and 'data.train[].path' and 'data.eval[].path'"},
      {"trainin={}", "[trainin] unknown key. Did you mean 'training'?"},
      {"adapter.target_module=[]", "…Did you mean 'target_modules'?"},
      {"data.xyzzy=1", "…[data.xyzzy] unknown key. The known keys are train, eval, eval_fraction"},
  });
}

void collect(const Json& schema, const std::string& path, std::vector<std::string>& paths, std::vector<std::string>& keys) {
  if (schema.contains("properties")) {
    for (const auto& [key, property] : schema["properties"].items()) {
      const std::string below = path.empty() ? key : path + "." + key;
      paths.push_back(below);
      keys.push_back(key);
      EXPECT_TRUE(property.contains("description")) << below;
      collect(property, below, paths, keys);
    }
  }
  if (schema.contains("items")) {
    collect(schema["items"], path + "[]", paths, keys);
  }
  for (const Json& alternative : schema.value("anyOf", Json::array())) {
    collect(alternative, path, paths, keys);
  }
}

TEST(Findings, EveryPeerKeyNamesOneOfOurs) {
  std::vector<std::string> paths;
  std::vector<std::string> keys;
  Json schema = run_config_schema();
  // Peers mean LoRA; a key of another method ("dropout") is known only in that method's section.
  Json& methods = schema["properties"]["adapter"]["anyOf"];
  methods = Json::array({methods[0]});
  methods[0]["properties"].erase("lora_ga_config");  // whose "scale" is not the peers'
  collect(schema, "", paths, keys);
  std::vector<std::string> seen;
  for (const PeerKey& peer : peer_keys()) {
    const bool is_elsewhere = std::string(peer.name) == "scale";  // MLX's in adapter; a key of ours in lora_ga_config only
    EXPECT_TRUE(is_elsewhere || std::find(keys.begin(), keys.end(), peer.name) == keys.end()) << peer.name << " is a key of ours";
    EXPECT_THAT(seen, ::testing::Not(::testing::Contains(std::string(peer.name)))) << "listed twice";
    seen.emplace_back(peer.name);
    if (*peer.ours != '\0') {
      EXPECT_THAT(paths, ::testing::Contains(std::string(peer.ours))) << peer.name;
    } else {
      EXPECT_STRNE(peer.remark, "") << peer.name;
    }
  }
  EXPECT_GE(seen.size(), 60u);
}

}  // namespace
}  // namespace lora::config

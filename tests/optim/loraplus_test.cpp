#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lora/base/json.h"
#include "lora/optim/optimizer.h"
#include "optim/groups.h"
#include "support/expect_error.h"
#include "support/paths.h"

namespace lora::optim {
namespace {

using at::Tensor;

/// The role of a parameter with PEFT's name.
nn::ParameterRole role_of(const std::string& name) {
  const auto has = [&name](const char* part) { return name.find(part) != std::string::npos; };
  return has(".lora_embedding_A")  ? nn::ParameterRole::kEmbeddingA
         : has(".lora_embedding_B") ? nn::ParameterRole::kEmbeddingB
         : has(".lora_A.")          ? nn::ParameterRole::kLowRankA
         : has(".lora_B.")          ? nn::ParameterRole::kLowRankB
                                    : nn::ParameterRole::kWhole;
}

nn::Parameter parameter(const std::string& name, const Tensor& value) {
  return {name, value.clone().set_requires_grad(true), name.find("bias") == std::string::npos, role_of(name)};
}

OptimizerOptions loraplus_options(const Json& golden) {
  OptimizerOptions options;
  options.kind = golden.at("kind") == "sgd" ? OptimizerKind::kSgd : OptimizerKind::kAdamWFused;
  options.weight_decay = 0.3;  // LoRA+ has its own
  options.loraplus.lr_ratio = golden.at("loraplus_lr_ratio").get<double>();
  options.loraplus.lr_embedding = golden.value("loraplus_lr_embedding", options.loraplus.lr_embedding);
  options.loraplus.weight_decay = golden.value("loraplus_weight_decay", options.loraplus.weight_decay);
  return options;
}

/// One case of scripts/golden/loraplus.py.
void replay_loraplus(const io::SafetensorsFile& file, const std::string& name) {
  const Json golden = parse_json(file.metadata().at(name), name, ErrorKind::kData);
  const double learning_rate = golden.at("learning_rate");
  const int64_t steps = golden.at("steps");
  std::vector<nn::Parameter> parameters;
  for (const auto& [key, rate] : golden.at("rates").items()) {
    parameters.push_back(parameter(key, file.tensor(name + "/initial/" + key)));
  }
  for (const ParameterGroup& group : group_parameters(parameters, loraplus_options(golden), learning_rate)) {
    for (const nn::Parameter& member : group.parameters) {
      EXPECT_DOUBLE_EQ(group.rate_factor * learning_rate, golden.at("rates").at(member.name).get<double>()) << member.name;
    }
  }
  const auto optimizer = make_optimizer(loraplus_options(golden), parameters, learning_rate);
  for (int64_t step = 0; step < steps; ++step) {
    const std::string prefix = name + "/" + std::to_string(step);
    for (const nn::Parameter& trained : parameters) {
      trained.tensor.mutable_grad() = file.tensor(prefix + "/grad/" + trained.name).clone();
    }
    optimizer->step(learning_rate * (1.0 - static_cast<double>(step) / static_cast<double>(steps)));
    for (const nn::Parameter& trained : parameters) {
      EXPECT_TRUE(at::allclose(trained.tensor.detach(), file.tensor(prefix + "/param/" + trained.name), 1e-6, 1e-7))
          << trained.name << ", step " << step;
    }
  }
}

TEST(LoraPlus, EqualsPeftStepByStep) {
  const io::SafetensorsFile file(lora::test::data_folder() + "/optim/loraplus.safetensors");
  for (const std::string name : {"adamw", "adamw_defaults", "sgd"}) {
    SCOPED_TRACE(name);
    replay_loraplus(file, name);
  }
}

TEST(LoraPlus, RefusesWhatIsOutOfRange) {
  const std::vector<nn::Parameter> parameters{parameter("a.lora_B.weight", at::ones({2, 2}))};
  const auto fails = [&](const LoraPlusOptions& plus, double learning_rate, const std::string& key) {
    OptimizerOptions options;
    options.loraplus = plus;
    test::expect_error(ErrorKind::kConfig, {"[training." + key + "]"}, [&] { make_optimizer(options, parameters, learning_rate); });
  };
  fails({.lr_ratio = 0.0}, 0.1, "loraplus_lr_ratio");
  fails({.lr_ratio = -1.0}, 0.1, "loraplus_lr_ratio");
  fails({.lr_ratio = 2.0, .lr_embedding = -1.0}, 0.1, "loraplus_lr_embedding");
  fails({.lr_ratio = 2.0, .weight_decay = -1.0}, 0.1, "loraplus_weight_decay");
  fails({.lr_ratio = 2.0}, 0.0, "learning_rate");
}

}  // namespace
}  // namespace lora::optim

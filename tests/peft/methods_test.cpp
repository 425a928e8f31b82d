#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <map>

#include "adapters.h"
#include "lora/peft/adapter.h"
#include "lora/peft/method.h"
#include "peft/methods.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"
#include "support/tiny_llama.h"

namespace lora::peft {
namespace {

using nn::ParameterRole;
using test::small_lora;
using test::tiny_llama;

TEST(Methods, TheOptionsChooseTheMethod) {
  const MethodOptions none;
  EXPECT_FALSE(none);
  EXPECT_EQ(none.as<LoraOptions>(), nullptr);
  EXPECT_FALSE(starts_from_data(none));

  LoraOptions lora = small_lora({"q_proj"});
  lora.init = LoraInit::kPissa;
  MethodOptions options = lora;
  options->init_from = "start";
  ASSERT_TRUE(options);
  EXPECT_EQ(options.as<LoraOptions>()->init_from, "start");
  EXPECT_EQ(options.as<LoraOptions>()->r, 4);
  EXPECT_STREQ(method_entry(options).peft_type, "LORA");
  EXPECT_TRUE(changes_base(options));
  EXPECT_THAT(peft_types(), testing::ElementsAre("LORA", "PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING", "BOTTLENECK", "IA3", "VERA", "LOHA",
                                                 "LOKR", "OFT", "BOFT", "HRA", "MISS", "RANDLORA", "ADALORA", "LN_TUNING",
                                                 "BITFIT", "TRAINABLE_TOKENS"));
}

/// Every part of an adapter on a model: the parameters that training updates are the tensors that a program without the model reads.
TEST(Methods, WhatIsTrainedIsWhatIsRead) {
  const models::BaseModel base = tiny_llama();
  LoraOptions options = small_lora({"q_proj", "v_proj"});
  options.use_dora = true;
  options.modules_to_save = {"lm_head"};
  options.trainable_token_indices = {{"embed_tokens", {3, 7}}};
  const auto method = attach_adapter(options, *base.model, "base", 1);
  const test::TemporaryFolder folder;
  method->save(folder.path());
  std::map<std::string, AdapterTensor> read;
  for (const AdapterTensor& tensor : tensors_of(updates_of(read_adapter(folder.path(), options)))) {
    read.emplace(tensor.name, tensor);
  }
  EXPECT_EQ(read.size(), method->parameters().size());
  for (const nn::Parameter& parameter : method->parameters()) {
    ASSERT_EQ(read.count(parameter.name), 1U) << parameter.name;
    EXPECT_EQ(read.at(parameter.name).role, parameter.role) << parameter.name;
    test::expect_equal(read.at(parameter.name).tensor, parameter.tensor.detach(), parameter.name);
  }
}

TEST(Methods, AParameterSaysWhatItIs) {
  const models::BaseModel base = tiny_llama();
  LoraOptions options = small_lora({"embed_tokens", "layers.0.self_attn.q_proj"});
  options.use_dora = true;
  options.modules_to_save = {"norm"};
  std::vector<ParameterRole> roles;
  const auto method = attach_adapter(options, *base.model, "base", 1);
  for (const nn::Parameter& parameter : method->parameters()) {
    if (parameter.name.find("layernorm") == std::string::npos) {
      roles.push_back(parameter.role);
    }
  }
  EXPECT_THAT(roles, testing::ElementsAre(ParameterRole::kEmbeddingA, ParameterRole::kEmbeddingB, ParameterRole::kMagnitude,
                                          ParameterRole::kLowRankA, ParameterRole::kLowRankB, ParameterRole::kMagnitude,
                                          ParameterRole::kWhole));
}

/// PEFT's wrappers are part of a parameter's name and of the key, but not of the name that the tensor is found by.
TEST(Methods, WrappersAreInKeysAlone) {
  const HeldTensor bias{{"model.q_proj.bias", at::ones({2})}, {}, /*of_base=*/false, ".base_layer"};
  const std::vector<AdapterTensor> tensors = tensors_of(AdapterUpdate(bias));
  ASSERT_EQ(tensors.size(), 1U);
  EXPECT_EQ(tensors[0].module, "model.q_proj");
  EXPECT_EQ(tensors[0].name, "model.q_proj.bias");
  EXPECT_EQ(tensors[0].wrapped_name(), "model.q_proj.base_layer.bias");
  EXPECT_EQ(num_parameters(bias), 2);
}

}  // namespace
}  // namespace lora::peft

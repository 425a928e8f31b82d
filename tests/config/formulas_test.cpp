// The keys of methods that are a formula or that train copies of weights.
#include <gmock/gmock.h>

#include "sandbox.h"

namespace lora::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

Json with_method(const std::string& type, const std::string& keys) {
  Json document = smallest();
  document["adapter"] = Json::parse("{\"peft_type\": \"" + type + "\"" + (keys.empty() ? "" : ", " + keys) + "}");
  return document;
}

TEST(FormulaSections, EveryValueArrives) {
  const Sandbox sandbox;
  const auto load = [&]<typename Options>(const std::string& type, const std::string& keys, Options) {
    return *sandbox.load(with_method(type, keys)).adapter.as<Options>();
  };
  const auto ia3 = load("IA3", R"("feedforward_modules": ["down_proj"], "init_ia3_weights": false, "exclude_modules": ["v_proj"])",
                        peft::Ia3Options());
  EXPECT_THAT(ia3.feedforward_modules.names, ElementsAre("down_proj"));
  EXPECT_FALSE(ia3.init_ia3_weights);
  EXPECT_THAT(ia3.exclude_modules.names, ElementsAre("v_proj"));
  EXPECT_EQ(load("IA3", R"("feedforward_modules": [])", peft::Ia3Options()).feedforward_modules.kind, peft::ModuleChoice::Kind::kList);
  EXPECT_EQ(load("IA3", "", peft::Ia3Options()).feedforward_modules.kind, peft::ModuleChoice::Kind::kNone);
  const auto vera = load("VERA", R"("r": 7, "vera_dropout": 0.1, "d_initial": 0.2, "projection_prng_key": 3, "save_projection": false)",
                         peft::VeraOptions());
  EXPECT_EQ(vera.r, 7);
  EXPECT_EQ(vera.vera_dropout, 0.1);
  EXPECT_EQ(vera.d_initial, 0.2);
  EXPECT_EQ(vera.projection_prng_key, 3);
  EXPECT_FALSE(vera.save_projection);
  const auto loha =
      load("LOHA", R"("r": 3, "alpha": 5, "rank_pattern": {"v_proj": 2}, "alpha_pattern": {"v_proj": 1.5})", peft::LohaOptions());
  EXPECT_EQ(loha.r, 3);
  EXPECT_EQ(loha.alpha, 5);
  EXPECT_THAT(loha.rank_pattern, ElementsAre(Pair("v_proj", 2)));
  EXPECT_THAT(loha.alpha_pattern, ElementsAre(Pair("v_proj", 1.5)));
  const auto lokr = load("LOKR", R"("decompose_both": true, "decompose_factor": 4, "init_weights": "lycoris")", peft::LokrOptions());
  EXPECT_TRUE(lokr.decompose_both);
  EXPECT_EQ(lokr.decompose_factor, 4);
  EXPECT_EQ(lokr.init, peft::LokrInit::kLycoris);
  const auto oft = load("OFT", R"("r": 2, "oft_block_size": 0, "block_share": true, "use_cayley_neumann": false, "bias": "oft_only")",
                        peft::OftOptions());
  EXPECT_EQ(oft.r, 2);
  EXPECT_EQ(oft.oft_block_size, 0);
  EXPECT_TRUE(oft.block_share);
  EXPECT_FALSE(oft.use_cayley_neumann);
  EXPECT_EQ(oft.bias, peft::TrainedBias::kLoraOnly);
  EXPECT_EQ(load("BOFT", R"("boft_block_size": 0, "boft_block_num": 3)", peft::BoftOptions()).boft_block_num, 3);
  EXPECT_TRUE(load("HRA", R"("r": 6, "apply_GS": true)", peft::HraOptions()).apply_GS);
  EXPECT_EQ(load("MISS", R"("init_weights": "bat", "r": 4)", peft::MissOptions()).kind, peft::MissKind::kBat);
  EXPECT_EQ(load("MISS", R"("init_weights": "mini", "mini_r": 2)", peft::MissOptions()).mini_r, 2);
  const auto randlora = load("RANDLORA", R"("randlora_alpha": 12, "randlora_dropout": 0.2, "bias": "all")", peft::RandLoraOptions());
  EXPECT_EQ(randlora.randlora_alpha, 12);
  EXPECT_EQ(randlora.randlora_dropout, 0.2);
  EXPECT_EQ(randlora.bias, peft::TrainedBias::kAll);
  const auto adalora = load("ADALORA", R"("init_r": 6, "target_r": 3, "lora_alpha": 5, "lora_dropout": 0.1, "tinit": 1, "tfinal": 2,
                                           "deltaT": 4, "beta1": 0.7, "beta2": 0.8, "orth_reg_weight": 0.3, "total_step": 30,
                                           "init_lora_weights": false, "rank_pattern": null, "alpha_pattern": {}, "loftq_config": {})",
                            peft::AdaLoraOptions());
  EXPECT_EQ(std::tie(adalora.init_r, adalora.target_r, adalora.tinit, adalora.tfinal, adalora.deltaT), std::make_tuple(6, 3, 1, 2, 4));
  EXPECT_EQ(std::tie(adalora.lora_alpha, adalora.lora_dropout, adalora.beta1, adalora.beta2, adalora.orth_reg_weight),
            std::make_tuple(5.0, 0.1, 0.7, 0.8, 0.3));
  EXPECT_EQ(adalora.total_step, 30);
  EXPECT_FALSE(adalora.init_lora_weights);
  const auto pruned = load("ADALORA", R"("init_r": 2, "target_r": 1, "rank_pattern": {"a.q_proj.lora_E": [true, false]})",
                           peft::AdaLoraOptions());
  EXPECT_THAT(pruned.rank_pattern, ElementsAre(Pair("a.q_proj", ElementsAre(true, false))));
  EXPECT_THAT(load("TRAINABLE_TOKENS", R"("token_indices": [4, 2])", peft::TrainableTokensOptions()).token_indices, ElementsAre(4, 2));
  EXPECT_THAT(load("BITFIT", R"("target_modules": ["query"])", peft::BitFitOptions()).target_modules.names, ElementsAre("query"));
  EXPECT_THAT(load("LN_TUNING", R"("exclude_modules": ["norm"])", peft::LnTuningOptions()).exclude_modules.names, ElementsAre("norm"));
}

TEST(FormulaSections, BadValuesAreReported) {
  const Sandbox sandbox;
  const auto expect = [&](const std::string& type, const std::string& keys, const std::string& finding) {
    EXPECT_THAT(sandbox.findings(with_method(type, keys)), ElementsAre(HasSubstr(finding))) << type << " " << keys;
  };
  expect("IA3", R"("r": 4)", "[adapter.r] unknown key");
  expect("VERA", R"("r": 0)", "[adapter.r] found 0");
  expect("LOHA", R"("lora_alpha": 4)", "[adapter.lora_alpha] unknown key");
  expect("LOHA", R"("rank_dropout": 0.1)", "[adapter.rank_dropout] PEFT's rank_dropout is not supported yet: found 0.1");
  expect("LOKR", R"("decompose_factor": 0)", "[adapter.decompose_factor] found 0");
  expect("OFT", R"("r": 4)", "[adapter.oft_block_size] found r 4 and oft_block_size 32, expected one of them to be 0");
  expect("OFT", R"("coft": true)", "[adapter.coft] PEFT's coft is not supported yet");
  expect("BOFT", R"("boft_block_num": 4)", "[adapter.boft_block_size] found");
  expect("BOFT", R"("boft_n_butterfly_factor": 2)", "[adapter.boft_n_butterfly_factor] PEFT's");
  expect("MISS", R"("init_weights": "bone")", "[adapter.init_weights] found \"bone\"");
  expect("RANDLORA", R"("sparse": true)", "[adapter.sparse] PEFT's sparse is not supported yet");
  expect("ADALORA", R"("target_r": 13)", "[adapter.target_r] found 13 with init_r 12, expected at most init_r");
  expect("ADALORA", R"("tinit": 4, "tfinal": 6, "total_step": 10)", "[adapter.total_step] found 10 with tinit 4 and tfinal 6");
  expect("ADALORA", R"("beta1": 1)", "[adapter.beta1] found 1");
  expect("ADALORA", R"("deltaT": 0)", "[adapter.deltaT] found 0");
  expect("ADALORA", R"("orth_reg_weight": -1)", "[adapter.orth_reg_weight] found -1");
  expect("ADALORA", R"("use_dora": true)", "[adapter.use_dora] PEFT's use_dora is not supported yet: found true");
  expect("ADALORA", R"("rank_pattern": {"q_proj": 3})", "[adapter.rank_pattern.q_proj] found 3");
  expect("ADALORA", R"("rank_pattern": {"q_proj.lora_E": [true]})", "[adapter.rank_pattern.q_proj.lora_E] found 1 values, expected init_r");
  expect("BITFIT", R"("bias": "all")", "[adapter.bias] unknown key");
  expect("TRAINABLE_TOKENS", R"("token_indices": [-1])", "[adapter.token_indices");
}

}  // namespace
}  // namespace lora::config

// Runs on images: their keys, and what excludes what.
#include <gmock/gmock.h>

#include "lora/config/run_config.h"
#include "sandbox.h"

namespace lora::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Json denoising_run() {
  Json document = smallest();
  document["adapter"]["target_modules"] = {"to_q", "to_v"};
  document["data"]["train"][0]["format"] = "diffusion_tensors";
  document["training"]["objective"] = "denoising";
  return document;
}

TEST(Denoising, DefaultsAreThoseOfDiffusersScripts) {
  const Sandbox sandbox;
  const RunConfig run = sandbox.load(denoising_run());
  const train::DenoisingOptions& own = run.training.denoising;
  EXPECT_EQ(own.snr_gamma, std::nullopt);
  EXPECT_EQ(own.noise_offset, 0);
  EXPECT_EQ(own.input_perturbation, 0);
  EXPECT_EQ(own.prior_loss_weight, 1);
  EXPECT_EQ(own.min_timestep, 0);
  EXPECT_EQ(own.max_timestep, std::nullopt);
  EXPECT_EQ(own.rescale_betas_zero_snr, std::nullopt);
  EXPECT_FALSE(run.resolved["training"].contains("snr_gamma"));
  EXPECT_EQ(run.model.prediction_type, "");
}

TEST(Denoising, EveryValueArrives) {
  const Sandbox sandbox;
  Json document = denoising_run();
  document["model"].update(Json::parse(R"({"prediction_type": "v_prediction", "variant": "fp16", "vae": "other/vae"})"));
  document["training"].update(Json::parse(R"({"snr_gamma": 5, "noise_offset": 0.05, "input_perturbation": 0.1, "prior_loss_weight": 0.5,
    "min_timestep": 10, "max_timestep": 900, "rescale_betas_zero_snr": true, "eval_timesteps": 4})"));
  const RunConfig run = sandbox.load(document);
  const train::DenoisingOptions& own = run.training.denoising;
  EXPECT_EQ(own.snr_gamma, 5);
  EXPECT_EQ(own.noise_offset, 0.05);
  EXPECT_EQ(own.input_perturbation, 0.1);
  EXPECT_EQ(own.prior_loss_weight, 0.5);
  EXPECT_EQ(own.min_timestep, 10);
  EXPECT_EQ(own.max_timestep, 900);
  EXPECT_EQ(own.rescale_betas_zero_snr, true);
  EXPECT_EQ(own.eval_timesteps, 4);
  EXPECT_EQ(run.model.prediction_type, "v_prediction");
  EXPECT_EQ(run.model.variant, "fp16");
  EXPECT_EQ(run.model.vae, sandbox.folder() / "other/vae");
  const RunConfig again = sandbox.load(run.resolved);
  EXPECT_EQ(again.resolved, run.resolved);
}

TEST(Denoising, FindingsNameTheKey) {
  const Sandbox sandbox;
  const std::vector<std::pair<std::string, std::string>> cases{
      {"data.packing=true", "[data.packing] found true with training.objective \"denoising\", expected false: images have no tokens"},
      {"data.max_length=77", "[data.max_length] found 77 with training.objective \"denoising\""},
      {"data.tokens_per_batch=100", "[data.tokens_per_batch] found 100"},
      {"adapter.task_type=CAUSAL_LM", "[adapter.task_type] found \"CAUSAL_LM\""},
      {"model.base_dropout=0.1", "[model.base_dropout] found 0.1"},
      {"model.prediction_type=sample", "[model.prediction_type] found \"sample\", expected"},
      {"training.cuda_graphs=true", "[training.cuda_graphs] found true"},
      {"training.snr_gamma=0", "[training.snr_gamma] found 0"},
      {"training.noise_offset=-1", "[training.noise_offset] found -1"},
      {"training.min_timestep=1.5", "[training.min_timestep] found 1.5"},
      {"training.metric_for_best_model=loss_quarters", "[training.metric_for_best_model]"},
      {"data.train.0.format=text", "[data.train[0].format] found \"text\" with training.objective \"denoising\", expected"},
      {"training.min_snr_gamma=5", "write 'training.snr_gamma'"},
      {"adapter.network_dim=8", "write 'adapter.r'"},
      {"training.unet_lr=1e-4", "write 'training.learning_rate'"},
      {"data.train_data_dir=x", "write 'data.train'"},
      {"data.instance_prompt=x", "write 'data.train'"},
      {"model.clip_skip=0", "[model.clip_skip] found 0"},
      {"training.clip_skip=2", "it belongs at 'model.clip_skip'"},
      {"adapter.conv_dim=4", "write 'adapter.rank_pattern'"},
      {"data.keep_tokens=1", "captions are read as they are written"},
  };
  for (const auto& [setting, finding] : cases) {
    EXPECT_THAT(sandbox.findings(denoising_run(), {setting}), ElementsAre(HasSubstr(finding))) << setting;
  }
  EXPECT_THAT(sandbox.findings(denoising_run(), {"training.min_timestep=9", "training.max_timestep=8"}),
              ElementsAre(HasSubstr("[training.min_timestep] found 9 with max_timestep 8")));
}

TEST(Denoising, KeysAreOnlyForIt) {
  const Sandbox sandbox;
  const std::vector<std::string> settings{"training.snr_gamma=5",         "training.noise_offset=0.1",  "training.prior_loss_weight=0",
                                          "training.max_timestep=9",      "training.eval_timesteps=4",  "model.variant=fp16",
                                          "model.prediction_type=epsilon", "model.vae=x", "model.clip_skip=2"};
  for (const std::string& setting : settings) {
    const std::string key = setting.substr(0, setting.find('='));
    EXPECT_THAT(sandbox.findings(smallest(), {setting}),
                ElementsAre(testing::AllOf(HasSubstr("[" + key + "] found "), HasSubstr("\"denoising\""))))
        << setting;
  }
  EXPECT_THAT(sandbox.findings(smallest(), {"data.train.0.format=diffusion_tensors"}),
              ElementsAre(HasSubstr("[data.train[0].format] found \"diffusion_tensors\" with training.objective \"causal_lm\"")));
}

}  // namespace
}  // namespace lora::config

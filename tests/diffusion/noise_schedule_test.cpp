#include "lora/diffusion/noise_schedule.h"

#include "lora/io/tensors.h"
#include "support/expect_error.h"
#include "support/paths.h"
#include "support/tensors.h"

namespace lora::diffusion {
namespace {

const char* const kScheduleFile = "scheduler_config.json";

NoiseSchedule schedule_of(const Json& config) {
  return NoiseSchedule(JsonReader(config, kScheduleFile, ErrorKind::kModel));
}

TEST(NoiseSchedule, HasDiffusersTables) {
  const Json configs = read_json(test::kData / "diffusion" / "schedules.json", ErrorKind::kData);
  const io::SafetensorsFile expected(test::kData / "diffusion" / "schedules.safetensors");
  for (const auto& [name, given] : configs.items()) {
    for (const bool zero : {false, true}) {
      Json config = given;
      config["rescale_betas_zero_snr"] = zero;
      const NoiseSchedule schedule = schedule_of(config);
      const std::string prefix = name + (zero ? ".zero" : "");
      EXPECT_EQ(schedule.has_zero_terminal_snr(), zero);
      test::expect_near(schedule.betas_T(), expected.tensor(prefix + ".betas"), 1e-6, prefix);
      test::expect_near(schedule.alphas_cumprod_T(), expected.tensor(prefix + ".alphas_cumprod"), 1e-6, prefix);
      const Tensor snr = schedule.snr(at::arange(schedule.num_timesteps(), at::kLong)), theirs = expected.tensor(prefix + ".snr");
      EXPECT_LE(((snr - theirs).abs() / (theirs + 1e-6)).max().item<double>(), 1e-5) << prefix;
    }
  }
}

TEST(NoiseSchedule, AddsNoiseAndGivesTargets) {
  const Json configs = read_json(test::kData / "diffusion" / "schedules.json", ErrorKind::kData);
  const io::SafetensorsFile expected(test::kData / "diffusion" / "schedules.safetensors");
  const Tensor latents = expected.tensor("latents"), noise = expected.tensor("noise"), times = expected.tensor("timesteps");
  Json config = configs.at("scaled_linear");
  config["_class_name"] = "PNDMScheduler";
  const NoiseSchedule schedule = schedule_of(config);
  test::expect_close(schedule.add_noise(latents, noise, times), expected.tensor("noisy"), 1e-6);
  test::expect_close(schedule.velocity(latents, noise, times), expected.tensor("velocity"), 1e-6);
  test::expect_equal(schedule.target(latents, noise, times), noise);
  config["prediction_type"] = "v_prediction";
  test::expect_close(schedule_of(config).target(latents, noise, times), expected.tensor("velocity"), 1e-6);
}

TEST(NoiseSchedule, RefusesWhatItDoesNotKnow) {
  const auto refuses = [](const char* text, const std::vector<std::string>& parts) {
    test::expect_error(ErrorKind::kModel, parts, [&] { schedule_of(Json::parse(text)); });
  };
  refuses(R"({"_class_name": "FlowMatchEulerDiscreteScheduler"})", {kScheduleFile, "_class_name", "FlowMatchEulerDiscreteScheduler"});
  refuses(R"({"_class_name": "EDMEulerScheduler"})", {"_class_name", "EDMEulerScheduler"});
  refuses(R"({"prediction_type": "sample"})", {"prediction_type", "sample", "v_prediction"});
  refuses(R"({"beta_schedule": "laplace"})", {"beta_schedule", "laplace", "scaled_linear"});
  refuses(R"({"num_train_timesteps": 0})", {"num_train_timesteps", "0"});
  refuses(R"({"trained_betas": [0.1, 0.2]})", {"trained_betas", "1000"});
  refuses(R"({"trained_betas": [0.1, "x"], "num_train_timesteps": 2})", {"trained_betas", "2 numbers"});
  refuses(R"({"beta_start": 0.5, "beta_end": 1.5})", {kScheduleFile, "betas", "between 0 and 1"});
  refuses(R"({"beta_start": -0.5, "beta_schedule": "scaled_linear"})", {kScheduleFile, "betas"});
}

}  // namespace
}  // namespace lora::diffusion

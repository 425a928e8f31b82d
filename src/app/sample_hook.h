#pragma once
#include <filesystem>
#include <vector>

#include "app/image_pipeline.h"
#include "lora/config/run_config.h"
#include "lora/train/trainer.h"

namespace lora::app {

/// Writes images of the model as it is, samples/step-<step>-<prompt>.png in the output folder: at its interval and after the last step.
/// Their noise is a function of the run's seed and of the prompt's place, so that the images of all steps can be compared.
class SampleHook : public train::Hook {
 public:
  /// Encodes the prompts. `network` is what is trained; it must outlive this. Throws what loading text encoders throws, and model Error for
  /// a pipeline without an autoencoder.
  SampleHook(const config::RunConfig& config, const nn::Model& network);
  bool on_step(const train::StepReport& report, train::TrainerState& state) override;
  void on_end(train::TrainerState& state) override;

 private:
  void write(int64_t step);
  void write_images(int64_t step);

  diffusion::Pipeline pipeline_;
  const nn::Model& network_;
  std::filesystem::path folder_;
  int64_t every_;
  ImageOptions options_;
  std::vector<diffusion::EncodedPrompt> prompts_;
  int64_t written_ = -1;  ///< the step of the last images
};

}  // namespace lora::app

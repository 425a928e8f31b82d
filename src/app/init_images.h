#pragma once
#include <string>

#include "app/init_config.h"
#include "lora/data/image_survey.h"
#include "lora/models/options.h"

namespace lora::app {

/// What --init knows about a text-to-image pipeline and images.
struct ImageFacts {
  models::ModelOptions options;
  std::string family;  ///< "Stable Diffusion XL"
  std::string dtype;   ///< of the network's weights
  bool is_single_file = false;
  bool matches_flows = false;  ///< trained by flow matching
  int64_t side = 0;            ///< of the images that the network was made for
  data::ImageSurvey images;
};

/// Throws what opening the pipeline and reading the images throw.
ImageFacts read_image_facts(const models::ModelOptions& model, const std::string& data);

InitPlan choose_image_config(const ImageFacts& facts, const InitPaths& paths);

/// The first two lines of the summary.
std::string image_lines(const ImageFacts& facts, const std::string& data);

}  // namespace lora::app

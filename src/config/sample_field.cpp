#include "config/sample_field.h"

namespace lora::config {

namespace {

using train::SampleOptions;
using train::TrainOptions;

constexpr int64_t kMostSteps = 1'000'000;

const Table<SampleOptions>& sample_table() {
  static const Table<SampleOptions> kTable = [] {
    Table<SampleOptions> table;
    table
        .value(
            "prompts", [](auto& o) -> auto& { return o.prompts; }, list_of(any_text(), 1),
            "What the images are to show, one image for each.")
        .required()
        .example({"a cat in the style of sks"})
        .value(
            "negative_prompt", [](auto& o) -> auto& { return o.negative_prompt; }, nullable(any_text()),
            "What the images should not show; null: what the pipeline does without a negative prompt.")
        .value(
            "steps", [](auto& o) -> auto& { return o.steps; }, integer(1, kMostSteps),
            "Steps from noise to an image (DDIM; for flow matching Euler).")
        .value(
            "guidance_scale", [](auto& o) -> auto& { return o.guidance_scale; }, nullable(number({.from = 0})),
            "How strongly images follow the prompts; 1 or less is off; null: 5 for Stable Diffusion XL, 7 for 3, 3.5 for FLUX.1-dev, "
            "otherwise 7.5.")
        .value(
            "every", [](auto& o) -> auto& { return o.every; }, integer(1),
            "Optimiser steps between images; some are always computed after the last step.");
    return table;
  }();
  return kTable;
}

}  // namespace

Field<TrainOptions> sample_field() {
  Json schema = sample_table().schema();
  schema["type"] = {"object", "null"};
  Field<TrainOptions> field{"sample", "Images: prompts of images that the run writes into the folder samples of output_dir.", schema,
                            nullptr, nullptr};
  field.read = [](const Json& value, TrainOptions& options, const ConfigPlace& at) {
    if (!value.is_null()) {
      sample_table().read(value, options.denoising.sample.emplace(), at);
    }
  };
  field.show = [](const TrainOptions& options) {
    return options.denoising.sample ? sample_table().resolved(*options.denoising.sample, Json::object()) : Json(nullptr);
  };
  field.example = Json{{"prompts", {"a cat in the style of sks"}}, {"every", 100}};
  return field;
}

}  // namespace lora::config

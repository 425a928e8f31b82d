// lora-train --init for a text-to-image pipeline and images.
#include "app/init_images.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "app/image_pipeline.h"
#include "app/inspect_pipeline.h"
#include "app/pipeline_base.h"
#include "lora/base/counted.h"
#include "lora/io/dtype_name.h"

namespace lora::app {

namespace {

constexpr int64_t kImagesForEvaluation = 100;  // with fewer, none are held out
constexpr int64_t kPixelsPerBatch = 4 * 512 * 512;
constexpr int64_t kImagesPerStep = 4;
constexpr int64_t kUsesOfAnImage = 100;
constexpr int64_t kFewestSteps = 200, kMostSteps = 2000;

/// Makes the choices of one config, section by section.
class ImageChooser {
 public:
  ImageChooser(const ImageFacts& facts, const InitPaths& paths) : facts_(facts), paths_(paths) {}

  InitPlan plan() {
    set("model", "path", paths_.model, facts_.family);
    set("model", "dtype", "auto", "the data type of the network's weights, " + facts_.dtype);
    choose_adapter();
    choose_data();
    choose_training();
    plan_.config["output_dir"] = paths_.output_dir;
    plan_.choices.push_back({"output_dir", paths_.output_dir, "checkpoints, metrics and the adapter are written here"});
    note_undecided();
    return std::move(plan_);
  }

 private:
  void set(const std::string& section, const std::string& key, const Json& value, const std::string& reason) {
    plan_.config[section][key] = value;
    plan_.choices.push_back({section + "." + key, value, reason});
  }

  void set_source(const std::string& key, const Json& value, const std::string& reason) {
    plan_.config["data"]["train"][0][key] = value;
    plan_.choices.push_back({"data.train[0]." + key, value, reason});
  }

  void choose_adapter() {
    set("adapter", "peft_type", "LORA", "trains two small matrices per module and leaves the pipeline unchanged");
    set("adapter", "r", 16, "a common rank; raise it for a style with much detail");
    set("adapter", "lora_alpha", 16, "the rank, so that the adapter is not scaled, as in diffusers' scripts");
    if (!facts_.matches_flows) {
      set("adapter", "target_modules", {"to_q", "to_k", "to_v", "to_out.0"}, "the projections of attention, as in diffusers' scripts");
    }
    set("adapter", "init_lora_weights", "gaussian", "as in diffusers' scripts");
  }

  void choose_data() {
    set_source("path", paths_.data, counted(facts_.images.num_images, "image"));
    set_source("format", "images", "a folder of images, or rows with a file_name");
    if (holds_out()) {
      set("data", "eval_fraction", 0.1, "holds out a tenth of the images, which show when training begins to overfit");
    }
    set("data", "resolution", facts_.side, "the size that the model was made for");
    if (facts_.images.num_long > 0) {
      const int64_t step = std::min<int64_t>(64, facts_.side / 8);
      set("data", "buckets", {{"enabled", true}, {"step", step}, {"min", facts_.side / 2}, {"max", 2 * facts_.side}},
          with_thousands(facts_.images.num_long) + " of the images are not square, and are trained in their own shape");
    }
  }

  bool holds_out() const { return facts_.images.num_images >= kImagesForEvaluation; }

  void choose_training() {
    const int64_t batch = std::clamp<int64_t>(kPixelsPerBatch / (facts_.side * facts_.side), 1, kImagesPerStep);
    const int64_t steps = std::clamp(facts_.images.num_images * kUsesOfAnImage / kImagesPerStep / 100 * 100, kFewestSteps, kMostSteps);
    set("training", "objective", "denoising", "the objective of text-to-image pipelines");
    set("training", "max_steps", steps, "about " + std::to_string(kUsesOfAnImage) + " uses of each image, within " +
                                            std::to_string(kFewestSteps) + " and " + std::to_string(kMostSteps) + " steps");
    set("training", "per_device_train_batch_size", batch, "images that are computed at once");
    if (batch < kImagesPerStep) {
      set("training", "gradient_accumulation_steps", kImagesPerStep / batch,
          "a step has " + std::to_string(kImagesPerStep) + " images");
    }
    set("training", "learning_rate", 1e-4, "the usual one for LoRA on images");
    set("training", "lr_scheduler_type", "constant", "so that a run can be stopped at any checkpoint");
    set("training", "weight_decay", 0.01, "a little against overfitting");
    if (!facts_.matches_flows) {
      set("training", "snr_gamma", 5, "weighs timesteps so that training needs fewer steps (min-SNR)");
    }
    if (holds_out()) {
      set("training", "eval_steps", 0.2, "five evaluations");
    }
    set("training", "save_steps", 0.2, "five checkpoints, of which the best is seldom the last");
  }

  void note_undecided() {
    const data::ImageSurvey& images = facts_.images;
    if (facts_.is_single_file) {
      plan_.undecided.emplace_back(
          "model.tokenizer, which a single file needs: the folder of any pipeline of this family in diffusers' layout.");
    }
    if (images.without_caption > 0) {
      plan_.undecided.push_back("What to do with " + counted(images.without_caption, "image") +
                                " without a caption, at which a run stops: write captions, or set data.missing_caption.");
    }
    if (images.num_small > 0) {
      plan_.undecided.push_back("Whether small images are good enough: " + with_thousands(images.num_small) +
                                " have fewer pixels than data.resolution, and are enlarged.");
    }
    if (!holds_out()) {
      plan_.undecided.push_back("How well the result generalises: " + counted(images.num_images, "image") +
                                " are too few to hold some out. Look at samples: training.sample writes them while a run trains.");
    }
    plan_.undecided.emplace_back("Whether the run fits into memory: --dry-run estimates it. If it does not, lower data.resolution or "
                                 "the batch size.");
  }

  const ImageFacts& facts_;
  const InitPaths& paths_;
  InitPlan plan_;
};

}  // namespace

ImageFacts read_image_facts(const models::ModelOptions& model, const std::string& data) {
  const diffusion::Pipeline pipeline(pipeline_options(model));
  ImageFacts facts;
  facts.options = model;
  facts.family = family_name(pipeline);
  facts.dtype = io::dtype_name(pipeline.weights(pipeline.network())->stored_dtype());
  facts.is_single_file = pipeline.is_single_file();
  facts.matches_flows = std::string_view(pipeline.network()) == diffusion::kTransformer;
  facts.side = default_side(pipeline, pixels_per_latent(pipeline));
  facts.images = data::survey_images(data, facts.side, "--init");
  return facts;
}

InitPlan choose_image_config(const ImageFacts& facts, const InitPaths& paths) {
  return ImageChooser(facts, paths).plan();
}

std::string image_lines(const ImageFacts& facts, const std::string& data) {
  const data::ImageSurvey& images = facts.images;
  return "model  " + facts.options.name + ": " + facts.family + " in " + facts.dtype + ", made for images of " +
         std::to_string(facts.side) + " x " + std::to_string(facts.side) + " pixels\n" + "data   " + data + ": " +
         counted(images.num_images, "image") + " with sides of " + std::to_string(images.smallest_side) + " to " +
         std::to_string(images.largest_side) + " pixels, " + std::to_string(images.without_caption) + " without a caption";
}

}  // namespace lora::app

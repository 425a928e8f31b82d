#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/diffusion/tensor_view.h"
#include "lora/io/checkpoint.h"
#include "lora/tokenizer/tokenizer.h"

namespace lora::diffusion {

/// Families of text-to-image pipelines.
enum class PipelineFamily {
  kStableDiffusion,  ///< 1.x and 2.x; see Pipeline::is_version_2
  kStableDiffusionXl,
  kStableDiffusion3,
  kFlux,
};

/// The parts of a pipeline, by diffusers' names.
inline constexpr const char* kUnet = "unet";
inline constexpr const char* kTransformer = "transformer";  ///< SD3 and FLUX, in place of the UNet
inline constexpr const char* kVae = "vae";
inline constexpr const char* kScheduler = "scheduler";

struct PipelineOptions {
  std::filesystem::path path;  ///< a diffusers folder, or a single-file checkpoint of Stability's layout (.safetensors)
  std::string variant = "";    ///< "fp16": weight files with this name before their extension; empty: the plain ones, else the only
  /// Another VAE: a folder with config.json and weights, or a file of weights, to which the pipeline's config applies; empty: its own.
  std::filesystem::path vae = "";
  /// For a single-file checkpoint, which has no tokenizer: a folder in diffusers' layout, from which the tokenizers are taken, and the
  /// configs that it has instead of the family's (diffusers' `config`); model.tokenizer in a run's config. A folder needs none.
  std::filesystem::path config = "";
  std::string prediction_type = "";  ///< replaces that of the scheduler's config; empty: as that says
  /// The CLIP layer whose states the network takes, counted from the last that the family uses, as A1111 and kohya's tools count.
  int64_t clip_skip = 1;
};

/// The configuration of a part.
struct ComponentConfig {
  Json json;
  std::string where;  ///< its file, for messages

  JsonReader reader() const { return {json, where, ErrorKind::kModel}; }
};

/// A text-to-image pipeline on disk: a folder in diffusers' layout (model_index.json, one folder for each component), or a single file of
/// all weights (`model.diffusion_model.…`), for which the family supplies the configs that diffusers would use. Both give the same names
/// and shapes of tensors: those of diffusers' and transformers' modules. A component is named as in model_index.json ("unet", "vae",
/// "text_encoder_2", …). What is missing is an error only for the function that needs it; every error names the file.
class Pipeline {
 public:
  /// Reads model_index.json, or the header of the file. Throws model Error if it is neither, for an unknown `_class_name` (lists the known
  /// ones), a single file of an unknown or unsupported model, and an inpainting model; config Error for a variant of a single file and
  /// for another folder of tokenizers where the pipeline has its own.
  explicit Pipeline(PipelineOptions options);
  ~Pipeline();
  Pipeline(Pipeline&&) noexcept;

  PipelineFamily family() const;
  /// Whether it is Stable Diffusion 2.x: its UNet has `use_linear_projection`.
  bool is_version_2() const;
  /// The folder or the file.
  const std::filesystem::path& path() const;
  bool is_single_file() const;
  int64_t clip_skip() const;  ///< of the options
  /// Whether it is SDXL's pipeline that takes zeros in place of the states of an empty negative prompt.
  bool forces_zeros_for_empty_prompt() const;

  /// Whether the pipeline says that it has this component.
  bool has(const std::string& component) const;
  /// kUnet or kTransformer: what is trained.
  const char* network() const;
  /// Its text encoders, in their order: "text_encoder", …
  std::vector<std::string> text_encoders() const;

  /// Its config.json (scheduler_config.json of the scheduler). Throws model Error if there is none. That of the scheduler has the
  /// prediction type of the options, if they give one; that of a Stable Diffusion 2 file, which does not tell, throws without it.
  ComponentConfig config(const std::string& component) const;
  /// Its weights, under the names of diffusers' and transformers' modules (with `text_model.`). Throws model Error if there are none,
  /// for pickled ones only (.bin, with what to do), and for several variants without a plain file.
  std::unique_ptr<io::Checkpoint> weights(const std::string& component) const;
  /// Where the weights of a component are in a single file; those of a folder have no views. Throws as weights() does.
  std::vector<TensorView> views(const std::string& component) const;
  /// Its tokenizer, "tokenizer" of "text_encoder" and so on. Throws model Error if there is none.
  std::unique_ptr<tokenizer::Tokenizer> tokenizer(const std::string& component) const;
  /// The files that config() and weights() or tokenizer() read, for hashes and copies.
  std::vector<std::filesystem::path> files(const std::string& component) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lora::diffusion

#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "lora/config/run_config.h"
#include "lora/data/dataset.h"
#include "lora/diffusion/text_encoders.h"
#include "lora/peft/method.h"
#include "lora/tokenizer/tokenizer.h"

namespace lora::app {

/// What the report shows of rows of the format images besides what the rows hold.
struct ImagePreview {
  diffusion::CaptionTokenizers tokenizers;
  int64_t downscale;  ///< pixels of a latent's side
};

/// None: the run has no rows of the format images.
std::optional<ImagePreview> image_preview(const config::RunConfig& config);

/// The report of --dry-run: the matched modules, grouped by pattern with their number, and the first `count` samples, decoded (without a
/// tokenizer: as ids). Supervised tokens are coloured if `colour`, else between ⟦ and ⟧. `labels` is null if the rows have tokens to
/// predict. Of an image that is used several times one sample is shown.
std::string dry_run_report(const peft::Method& method, const data::Dataset& train, const data::LabelSet* labels,
                           const tokenizer::Tokenizer* tokenizer, const ImagePreview* images, bool colour, size_t count = 3);

}  // namespace lora::app

#pragma once
#include <string>
#include <vector>

#include "lora/data/dataset.h"

namespace lora::data {

/// Whether any of the sources has rows of images, which the encoders of a model make into examples.
bool has_image_files(const std::vector<SourceOptions>& sources);

/// Reads sources of images (rows or folders), encodes what the encoders' cache does not hold, and gives an example for each image, followed
/// by its other forms (mirrored, other captions). Images are decoded in several threads while others are encoded; the result, and the error
/// that is thrown, do not depend on them. Throws as load_dataset does, and data Error naming the image's file.
Dataset load_images(const std::string& name, const std::vector<SourceOptions>& sources, const DataOptions& options,
                    const LoadContext& context);

}  // namespace lora::data

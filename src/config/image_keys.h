#pragma once
#include "config/table.h"
#include "lora/data/options.h"

namespace lora::config {

/// Adds the keys of the data section for rows of images.
void add_image_keys(Table<data::DataOptions>& table);

/// Reports keys of images where no source has them, and those that contradict each other. `section` is the data section as given.
void check_images(const Json& section, const data::DataOptions& options, const ConfigPlace& at);

}  // namespace lora::config

#include "app/new_folder.h"

#include <algorithm>

#include "app/companions.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/text.h"
#include "lora/peft/file_names.h"

namespace lora::app {

namespace {

/// The path without links and trailing slash; it need not exist.
fs::path resolved(const fs::path& folder) {
  const fs::path path = fs::weakly_canonical(fs::absolute(folder));
  return path.has_filename() ? path : path.parent_path();
}

bool is_within(const fs::path& inner, const fs::path& outer) {
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

/// Whether a folder that we write may contain a file of that name.
bool is_of_a_result(const fs::path& file) {
  const std::string name = file.filename().string();
  return name == "config.json" || name == peft::kAdapterConfigFile || name == "README.md" || name.ends_with(".safetensors.index.json") ||
         name == "model_index.json" || file.extension() == ".safetensors" || is_companion(file);
}

/// Whether a folder is that of a component of a text-to-image pipeline.
bool is_of_a_component(const fs::path& folder) {
  const std::string name = folder.filename().string();
  return starts_with_any(name, {"unet", "transformer", "vae", "text_encoder", "tokenizer", "scheduler", "safety_checker",
                                "feature_extractor", "image_encoder"});
}

/// Whether every file below a folder is a companion of weights, or what a component of a pipeline has.
bool holds_companions_alone(const fs::path& folder) {
  const bool is_component = is_of_a_component(folder);
  const auto may_be_replaced = [is_component](const fs::path& file) {
    const std::string name = file.filename().string();
    return is_companion(file) ||
           (is_component && (is_of_a_result(file) || name == "scheduler_config.json" || name == "preprocessor_config.json"));
  };
  const fs::recursive_directory_iterator entries(folder);
  return std::all_of(begin(entries), end(entries),
                     [&](const fs::directory_entry& entry) { return entry.is_directory() || may_be_replaced(entry.path()); });
}

}  // namespace

void require_new_folder(const fs::path& folder, const std::vector<fs::path>& inputs, bool overwrite) {
  const fs::path output = resolved(folder);
  for (const fs::path& input : inputs) {
    const fs::path other = resolved(input);
    if (is_within(output, other) || is_within(other, output)) {
      output_error(folder.string(), "overlaps the input '" + input.string() + "', expected a separate folder");
    }
  }
  if (!fs::exists(output)) {
    return;
  }
  if (!fs::is_directory(output)) {
    output_error(folder.string(), "exists and is not a folder. Choose another --output.");
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(output)) {
    const std::string name = entry.path().filename().string();
    if (!overwrite) {
      output_error(folder.string(),
                   "exists and is not empty: found " + name + ". Choose another --output, or use --overwrite to replace it.");
    }
    if (entry.is_directory() ? !holds_companions_alone(entry.path()) : !is_of_a_result(entry.path())) {
      output_error(folder.string(),
                   "cannot be replaced: found " + name + ", which does not belong to a model or an adapter. Choose another --output.");
    }
  }
}

void write_new_folder(const fs::path& folder, const std::function<void(const fs::path&)>& fill) {
  make_writable_folder(fs::absolute(folder / "").parent_path().parent_path());
  write_folder_atomically(folder, fill);
}

}  // namespace lora::app

#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "lora/models/base_model.h"
#include "support/batches.h"
#include "support/golden.h"
#include "support/temporary_folder.h"

namespace lora::test {

/// The model of a golden case with other keys in its config.json (a null key is taken out) and, by `adjust`, other options.
inline models::BaseModel changed(const std::string& name, const Json& changes,
                                 const std::function<void(models::ModelOptions&)>& adjust = nullptr,
                                 const std::optional<models::SequenceHeadRequest>& head = std::nullopt) {
  const Golden golden(name);
  Json config = read_json(golden.folder / "model/config.json", ErrorKind::kModel);
  for (const auto& [key, value] : changes.items()) {
    config[key] = value;
    if (value.is_null()) {
      config.erase(key);
    }
  }
  const TemporaryFolder folder;
  folder.write("config.json", config.dump());
  std::filesystem::copy_file(golden.folder / "model/model.safetensors", folder / "model.safetensors");
  models::ModelOptions options;
  options.path = folder.path();
  options.device = "cpu";
  options.dtype = models::ComputeDtype::kFloat32;
  if (adjust) {
    adjust(options);
  }
  return models::load_base_model(options, 0, head);
}

/// The same of a case of a classification, with a random head of three labels.
inline models::BaseModel changed_classifier(const std::string& name, const Json& changes,
                                            const std::function<void(models::ModelOptions&)>& adjust = nullptr) {
  return changed(name, changes, adjust, models::SequenceHeadRequest{3});
}

}  // namespace lora::test

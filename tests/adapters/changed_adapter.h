#pragma once
#include <functional>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/io/tensors.h"
#include "support/temporary_folder.h"

namespace lora::test {

/// A copy of an adapter folder whose config and tensors can be changed.
class ChangedAdapter {
 public:
  explicit ChangedAdapter(const std::filesystem::path& original) {
    std::filesystem::copy(original, folder(), std::filesystem::copy_options::recursive);
    config = read_json(folder() / "adapter_config.json", ErrorKind::kData);
    for (const io::SafetensorsFile file(weights_file()); const std::string& key : file.names()) {
      tensors.push_back({key, file.tensor(key).clone()});
    }
  }

  std::filesystem::path write() const {
    scratch_.write("adapter/adapter_config.json", config.dump());
    io::save_tensors(weights_file(), tensors);
    return folder();
  }

  Json config;
  std::vector<io::NamedTensor> tensors;

 private:
  std::filesystem::path folder() const { return scratch_ / "adapter"; }
  std::filesystem::path weights_file() const { return folder() / "adapter_model.safetensors"; }

  TemporaryFolder scratch_;
};

}  // namespace lora::test

#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "app/temporary_folder.h"
#include "lora/base/error.h"

namespace lora::app {

/// Adapters of a pipeline as folders in PEFT's format. A file in diffusers' or kohya's format is converted into a temporary folder, which
/// is deleted with this object.
class AdapterFolders {
 public:
  /// @param adapters folders or files. Throws model Error for a file that is not an adapter of a pipeline, and for modules that its format
  /// does not explain.
  explicit AdapterFolders(const std::vector<std::string>& adapters);

  /// In the order of the adapters.
  const std::vector<std::filesystem::path>& folders() const { return folders_; }

  /// Runs `use`; an Error that it throws about a temporary folder names the file that was converted.
  template <typename Use>
  auto with_given_names(const Use& use) const {
    try {
      return use();
    } catch (const Error& error) {
      throw Error(error.kind(), in_given_names(error.what()));
    }
  }

 private:
  std::string in_given_names(std::string message) const;
  std::filesystem::path converted(const std::filesystem::path& file);

  std::optional<TemporaryFolder> temporary_;
  std::vector<std::string> given_;
  std::vector<std::filesystem::path> folders_;
};

}  // namespace lora::app

#include "app/adapter_folders.h"

#include <stdlib.h>

#include "app/open_adapter.h"
#include "lora/base/error.h"

namespace lora::app {

namespace fs = std::filesystem;

namespace {

/// A new folder that no other process uses.
fs::path temporary_folder() {
  std::string name = (fs::temp_directory_path() / "lora-adapters-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) {
    output_error(name, "cannot be created. Set TMPDIR to a folder that can be written to.");
  }
  return name;
}

}  // namespace

AdapterFolders::AdapterFolders(const std::vector<std::string>& adapters) {
  try {
    for (const std::string& adapter : adapters) {
      std::error_code ignored;
      folders_.push_back(fs::is_regular_file(adapter, ignored) ? converted(adapter) : fs::path(adapter));
    }
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(temporary_, ignored);
    throw;
  }
}

AdapterFolders::~AdapterFolders() {
  std::error_code ignored;
  if (!temporary_.empty()) {
    fs::remove_all(temporary_, ignored);
  }
}

fs::path AdapterFolders::converted(const fs::path& file) {
  const peft::Adapter adapter = open_adapter(file, std::nullopt, {}).adapter;
  if (temporary_.empty()) {
    temporary_ = temporary_folder();
  }
  const fs::path folder = temporary_ / std::to_string(folders_.size() + 1);
  fs::create_directory(folder);
  peft::write_foreign_adapter(peft::AdapterFormat::kPeft, folder, adapter, {}, {});
  return folder;
}

}  // namespace lora::app

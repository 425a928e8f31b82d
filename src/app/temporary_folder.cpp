#include "app/temporary_folder.h"

#include <stdlib.h>

#include <string>

#include "lora/base/error.h"

namespace lora::app {

namespace fs = std::filesystem;

TemporaryFolder::TemporaryFolder() {
  std::error_code error;
  std::string name = (fs::temp_directory_path(error) / "lora-XXXXXX").string();
  if (error || mkdtemp(name.data()) == nullptr) {
    output_error(name, "a folder for temporary files cannot be created. Set TMPDIR to a folder that can be written to.");
  }
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace lora::app

#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "lora/base/text.h"
#include "lora/config/run_config.h"
#include "support/temporary_folder.h"

namespace lora::config {

/// A folder of one test, with configs in it.
class Sandbox {
 public:
  const std::filesystem::path& folder() const { return folder_.path(); }

  std::filesystem::path write(const std::string& name, const std::string& content) const { return folder_.write(name, content); }

  RunConfig load(const Json& document, const std::vector<std::string>& overrides = {}, const Surroundings& surroundings = {}) const {
    return load_runs(write("run.json", document.dump(2)), overrides, surroundings).runs.front();
  }

  /// The findings, one a line; together they end the program with `exit_code`.
  std::vector<std::string> findings(const Json& document, const std::vector<std::string>& overrides = {},
                                    const Surroundings& surroundings = {}, int exit_code = 2) const {
    try {
      load(document, overrides, surroundings);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), exit_code);
      return split(error.what(), '\n');
    }
    return {};
  }

 private:
  test::TemporaryFolder folder_;
};

/// The smallest complete config.
inline Json smallest() {
  return Json::parse(R"({"model": {"path": "./base"}, "adapter": {"target_modules": ["q_proj"]},
                         "data": {"train": [{"path": "rows.jsonl", "format": "tokens"}]}, "output_dir": "out"})");
}

}  // namespace lora::config

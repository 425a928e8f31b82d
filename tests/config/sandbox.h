#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "lora/base/text.h"
#include "lora/config/run_config.h"

namespace lora::config {

/// A folder of one test, with configs in it.
class Sandbox {
 public:
  Sandbox() {
    const auto* const test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() / (std::string("lora_config_") + test->test_suite_name() + "_" + test->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~Sandbox() { std::filesystem::remove_all(folder_); }
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;

  const std::filesystem::path& folder() const { return folder_; }

  std::filesystem::path write(const std::string& name, const std::string& content) const {
    const std::filesystem::path file = folder_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << content;
    return file;
  }

  RunConfig load(const Json& document, const std::vector<std::string>& overrides = {}, const Surroundings& surroundings = {}) const {
    return load_run_config(write("run.json", document.dump(2)), overrides, surroundings);
  }

  /// The findings, one a line.
  std::vector<std::string> findings(const Json& document, const std::vector<std::string>& overrides = {},
                                    const Surroundings& surroundings = {}) const {
    try {
      load(document, overrides, surroundings);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), 2);
      return split(error.what(), '\n');
    }
    return {};
  }

 private:
  std::filesystem::path folder_;
};

/// The smallest complete config.
inline Json smallest() {
  return Json::parse(R"({"model": {"path": "./base"}, "adapter": {"target_modules": ["q_proj"]},
                         "data": {"train": [{"path": "rows.jsonl", "format": "tokens"}]}, "output_dir": "out"})");
}

}  // namespace lora::config

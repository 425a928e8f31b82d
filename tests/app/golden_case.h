#pragma once
#include <string>
#include <vector>

#include "lora/base/file.h"
#include "process.h"
#include "support/paths.h"

namespace lora::test {

/// A case of tests/data; its run.json names models and rows of other cases.
struct GoldenCase {
  explicit GoldenCase(const std::string& name) {
    for (const char* kind : {"llama", "bottleneck", "prompts"}) {
      if (fs::exists(fs::path(data_folder()) / kind / name)) {
        folder = fs::path(data_folder()) / kind / name;
      }
    }
  }

  Json run() const { return read_json(folder / "run.json", ErrorKind::kConfig); }
  std::string model() const { return (folder / run()["model"]["path"].get<std::string>()).string(); }

  fs::path folder;
};

/// A golden case trained by lora-train into a folder of its own.
inline Outcome train_golden(const GoldenCase& golden, const fs::path& out, const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments{"--config", (golden.folder / "run.json").string(), "--set", "output_dir=" + out.string(),
                                     "--set",    "training.save_steps=9"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return lora_train(arguments);
}

}  // namespace lora::test

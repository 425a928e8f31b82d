#include "app/companions.h"

#include <algorithm>
#include <array>
#include <string>

#include "lora/base/bundle.h"
#include "lora/base/file.h"
#include "lora/peft/file_names.h"

namespace lora::app {

namespace {

// Names that transformers' tokenizers and mistral-common read.
constexpr std::array<std::string_view, 22> kNames{"tokenizer.model",
                                                  "tokenizer.json",
                                                  "tokenizer_config.json",
                                                  "special_tokens_map.json",
                                                  "added_tokens.json",
                                                  "chat_template.jinja",
                                                  "vocab.json",
                                                  "vocab.txt",
                                                  "merges.txt",
                                                  "generation_config.json",
                                                  "spiece.model",
                                                  "sentencepiece.bpe.model",
                                                  "spm.model",
                                                  "sentencepiece.model",
                                                  "bpe.codes",
                                                  "dict.txt",
                                                  "tekken.json",
                                                  "normalizer.json",
                                                  "vocab.bpe",
                                                  "encoder.json",
                                                  "chat_template.json",
                                                  "emoji.json"};
constexpr std::array<std::string_view, 4> kOwnFolders{"config.json", peft::kAdapterConfigFile, "MANIFEST.json", "run.json"};
constexpr int kMaxDepth = 3;
constexpr const char* kTemplateFolder = "additional_chat_templates";

bool is_of_its_own(const fs::path& folder) {
  return folder.filename().string().starts_with('.') ||
         std::any_of(kOwnFolders.begin(), kOwnFolders.end(), [&](std::string_view name) { return fs::exists(folder / name); });
}

void find(const fs::path& root, const fs::path& folder, int depth, std::vector<fs::path>& found) {
  std::error_code unreadable;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, unreadable)) {
    if (entry.is_regular_file() && is_companion(entry.path())) {
      found.push_back(entry.path().lexically_relative(root));
    } else if (entry.is_directory() && !entry.is_symlink() && depth < kMaxDepth && !is_of_its_own(entry.path())) {
      find(root, entry.path(), depth + 1, found);
    }
  }
}

}  // namespace

bool is_companion(const fs::path& file) {
  const std::string name = file.filename().string();
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end() || name.ends_with(".tiktoken") ||
         (name.ends_with(".jinja") && file.parent_path().filename() == kTemplateFolder);
}

std::vector<fs::path> companion_files(const fs::path& folder) {
  std::vector<fs::path> found;
  find(folder, folder, 0, found);
  for (const std::string& name : bundled_names(folder)) {
    if (is_companion(name)) {
      found.emplace_back(name);
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<fs::path> own_companion_files(const fs::path& folder) {
  std::vector<fs::path> files = companion_files(folder);
  const auto is_foreign = [](const fs::path& file) { return file.has_parent_path() && file.parent_path() != kTemplateFolder; };
  files.erase(std::remove_if(files.begin(), files.end(), is_foreign), files.end());
  return files;
}

void copy_companions(const fs::path& from, const fs::path& to) {
  for (const fs::path& file : companion_files(from)) {
    fs::create_directories((to / file).parent_path());
    write_file_atomically(to / file, read_file(from / file, ErrorKind::kModel));
  }
}

}  // namespace lora::app

// Damaged GGUF files: each is refused by an error of one line, or read; none needs much memory.
#include <gmock/gmock.h>

#include "lora/base/bundle.h"
#include "lora/base/file.h"
#include "lora/base/random.h"
#include "lora/models/base_model.h"
#include "lora/models/gguf_model.h"
#include "lora/tokenizer/tokenizer.h"
#include "support/damage.h"
#include "support/paths.h"
#include "support/temporary_folder.h"

namespace lora::models {
namespace {

constexpr size_t kMetadata = 16384;         ///< bytes at the beginning, where most of the damage is done
constexpr int64_t kMostMemory = 300 << 10;  ///< KiB

/// Some bytes are changed, and sometimes the end is cut off.
std::string damaged_file(std::string bytes, CounterRandom& random) {
  for (uint64_t change = 1 + random.below(4); change-- > 0;) {
    const size_t end = random.below(4) == 0 ? bytes.size() : std::min(bytes.size(), kMetadata);
    bytes[random.below(end)] = static_cast<char>(random.below(4) == 0 ? 255 : random.below(256));
  }
  if (random.below(4) == 0) {
    bytes.resize(random.below(bytes.size()));
  }
  return bytes;
}

/// Reads everything: the weights, the files that the metadata stand for, and the tokenizer. The error's text; "": it was read.
std::string read_error(const fs::path& file) {
  try {
    add_gguf_model(file);
    ModelOptions options;
    options.path = file;
    options.device = "cpu";
    load_base_model(options, 0);
    for (const std::string& name : bundled_names(file)) {
      read_file(file / name, ErrorKind::kModel);
    }
    tokenizer::load_tokenizer(file);
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(ErrorKind::kModel)) << error.what();
    return error.what();
  }
}

TEST(DamagedGgufFiles, AreRefusedOrRead) {
  const std::vector<std::string> names{"gguf_models/llama",         "gguf_models/qwen2",  "gguf_models/gpt2",
                                       "gguf_architectures/llama", "gguf_models/gemma3", "gguf_architectures/qwen3moe"};
  const int count = test::damaged_files(200);
  const test::TemporaryFolder folder;
  CounterRandom random(3);
  int refused = 0;
  int64_t memory = 0;
  for (int i = 0; i < count; ++i) {
    const std::string& name = names[static_cast<size_t>(i) % names.size()];
    const std::string whole = read_file(test::kData / "quantized" / (name + ".gguf"), ErrorKind::kModel);
    const fs::path file = folder.write(std::to_string(i) + ".gguf", damaged_file(whole, random));
    const std::string error = read_error(file);
    EXPECT_THAT(error, testing::Not(testing::HasSubstr("\n"))) << i;
    refused += error.empty() ? 0 : 1;
    memory = i < 20 ? test::peak_memory() : memory;
    fs::remove(file);
  }
  EXPECT_GT(refused, count / 3);
  EXPECT_LT(refused, count);
  EXPECT_LT(test::peak_memory() - memory, kMostMemory);
}

}  // namespace
}  // namespace lora::models

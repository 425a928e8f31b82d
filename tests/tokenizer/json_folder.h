#pragma once
#include <filesystem>

#include "support/paths.h"

namespace lora::test {

/// tests/data/tokenizer_json (scripts/golden/tokenizer_json.py).
inline const std::filesystem::path kJsonFolder = kData / "tokenizer_json";

}  // namespace lora::test

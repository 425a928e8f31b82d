#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "lora/base/json.h"

namespace lora::generate {

/// The tokens that end a completion: `eos_token_id` (a number or a list) in `folder`/generation_config.json, otherwise in config.json,
/// otherwise the tokenizer's EOS. Throws model Error for a value of another type.
std::vector<int32_t> find_eos_ids(const std::filesystem::path& folder, const Json& config, std::optional<int32_t> tokenizer_eos);

}  // namespace lora::generate

#pragma once
#include <filesystem>
#include <vector>

#include "lora/base/json.h"

namespace lora::tokenizer {

/// The files of an older folder that hold a vocabulary: vocab.txt (WordPiece), or vocab.json and merges.txt (BPE). Empty if there are none.
std::vector<std::filesystem::path> find_vocabulary_files(const std::filesystem::path& folder);

/// The files converted to a tokenizer.json that only has its model. Throws model Error for a malformed file.
Json read_vocabulary_files(const std::vector<std::filesystem::path>& files);

}  // namespace lora::tokenizer

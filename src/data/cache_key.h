#pragma once
#include <string>
#include <vector>

#include "data/source_plan.h"

namespace lora::data {

/// SHA-256 over everything that determines the examples of a set: the contents of the files (`hashes`, SHA-256 of each file's
/// bytes), the tokenizer's files, the options, and the version of the code that builds examples. File names, weights and
/// options that only order or group examples are not part of it.
std::string cache_key(const std::vector<SourceOptions>& sources, const std::vector<PlannedFile>& files,
                      const std::vector<std::string>& hashes, const DataOptions& options, const LoadContext& context);

}  // namespace lora::data

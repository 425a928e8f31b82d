#pragma once
#include <string>
#include <vector>

#include "data/source_plan.h"

namespace lora::data {

/// SHA-256 over all that the examples of a set are a function of: the files' contents (`hashes`, SHA-256 of each file's
/// bytes), the tokenizer's files, the options, and the version of the code that makes examples. Names of files, weights and
/// whatever orders or groups examples are not among it.
std::string cache_key(const std::vector<SourceOptions>& sources, const std::vector<PlannedFile>& files,
                      const std::vector<std::string>& hashes, const DataOptions& options, const LoadContext& context);

}  // namespace lora::data

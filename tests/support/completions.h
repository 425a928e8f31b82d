#pragma once
#include <cstdint>
#include <vector>

#include "lora/generate/generator.h"

namespace lora::test {

/// Completions of prompts that go together, numbered from 0 or as `indices` say.
inline std::vector<generate::Completion> complete(nn::Model& model, const generate::GenerationOptions& options,
                                                  const std::vector<std::vector<int32_t>>& ids, const std::vector<int64_t>& indices = {}) {
  std::vector<generate::Prompt> prompts;
  for (size_t i = 0; i < ids.size(); ++i) {
    prompts.push_back({ids[i], indices.empty() ? static_cast<int64_t>(i) : indices[i]});
  }
  std::vector<generate::Completion> completions(ids.size());
  generate::Generator(model, options)
      .complete(prompts, {[](size_t, int32_t) { return true; },
                          [&completions](size_t i, const generate::Completion& completion) { completions[i] = completion; }});
  return completions;
}

}  // namespace lora::test

#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace lora::generate {

/// How tokens are selected, and when to stop. Names and meaning are those of transformers' GenerationConfig; options that null disables
/// there are disabled here by their default.
struct GenerationOptions {
  int64_t max_new_tokens = 256;
  double temperature = 0.0;         ///< 0: greedy (do_sample false)
  int64_t top_k = 0;                ///< 0: off
  double top_p = 1.0;               ///< 1: off
  double min_p = 0.0;               ///< 0: off
  double repetition_penalty = 1.0;  ///< 1: off; applies to the prompt's tokens too, and to greedy decoding
  uint64_t seed = 42;
  std::vector<std::string> stop;  ///< the text ends before the first occurrence of one of these
  std::vector<int32_t> eos_ids;   ///< the completion ends with the first of these tokens; empty: none

  bool greedy() const { return temperature == 0.0; }
};

/// Throws config Error for a value outside its range, and for a sampling option with temperature 0, which would have no effect.
void require_valid_options(const GenerationOptions& options);

}  // namespace lora::generate

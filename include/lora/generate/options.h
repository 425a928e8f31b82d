#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace lora::generate {

/// How tokens are chosen, and when to stop. Names and meaning are those of transformers' GenerationConfig; what is off
/// there by null is off here by the default.
struct GenerationOptions {
  int64_t max_new_tokens = 256;
  double temperature = 0.0;         ///< 0: greedy (do_sample false)
  int64_t top_k = 0;                ///< 0: off
  double top_p = 1.0;               ///< 1: off
  double min_p = 0.0;               ///< 0: off
  double repetition_penalty = 1.0;  ///< 1: off; on the prompt's tokens too, greedy or not
  uint64_t seed = 42;
  std::vector<std::string> stop;  ///< the text ends before the first of these
  std::vector<int32_t> eos_ids;   ///< the tokens end with the first of these; empty: none

  bool greedy() const { return temperature == 0.0; }
};

/// Throws config Error for a value out of its range, and for a sampling option beside temperature 0, which would do nothing.
void check_options(const GenerationOptions& options);

}  // namespace lora::generate

#include "lora/generate/options.h"

#include <cmath>

#include "lora/base/error.h"
#include "lora/base/json.h"

namespace lora::generate {

namespace {

void require(bool holds, const char* name, double value, const char* expected) {
  if (!holds) {
    config_error(name, "found " + Json(value).dump() + ", expected " + expected);
  }
}

/// Greedy decoding selects the most likely token, which no filter removes.
void require_sampling(bool off, const char* name) {
  if (!off) {
    config_error(name,
                 "found a value with temperature 0, which always selects the most likely token. Set temperature above 0.");
  }
}

}  // namespace

void require_valid_options(const GenerationOptions& o) {
  require(o.max_new_tokens >= 1 && o.max_new_tokens <= (int64_t{1} << 30), "max_new_tokens", static_cast<double>(o.max_new_tokens),
          "an integer from 1 to 2^30");
  // With smaller values the divided logits would exceed the range of float32.
  require(o.greedy() || (o.temperature >= 1e-6 && std::isfinite(o.temperature)), "temperature", o.temperature,
          "0 (greedy) or a number from 1e-6 on");
  require(o.top_k >= 0, "top_k", static_cast<double>(o.top_k), "0 (off) or a positive integer");
  require(o.top_p > 0 && o.top_p <= 1, "top_p", o.top_p, "a number above 0 and at most 1 (off)");
  require(o.min_p >= 0 && o.min_p <= 1, "min_p", o.min_p, "a number from 0 (off) to 1");
  require(o.repetition_penalty > 0 && std::isfinite(o.repetition_penalty), "repetition_penalty", o.repetition_penalty,
          "a number above 0 (1: off)");
  for (const std::string& stop : o.stop) {
    if (stop.empty()) {
      config_error("stop", "found an empty string, expected the text to stop at");
    }
  }
  if (o.greedy()) {
    require_sampling(o.top_k == 0, "top_k");
    require_sampling(o.top_p == 1.0, "top_p");
    require_sampling(o.min_p == 0.0, "min_p");
  }
}

}  // namespace lora::generate

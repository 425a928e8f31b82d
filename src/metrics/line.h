#pragma once
#include <cstdint>
#include <string>

#include "lora/base/json.h"

namespace lora::metrics {

/// A number for people: `format` is printf's for one double.
std::string formatted(const char* format, double value);

/// A number per second for people: "12,345", or "0.25" below 10.
std::string rate_text(double per_second);

/// A row as one plain line: "step 10/200  epoch 0.50  loss 2.3145  grad_norm 1.234  lr 1.00e-04  12,345 tokens/s" where
/// it has "loss", "step 10/200  evaluation: loss 2.1000  perplexity 8.170" where it has "eval_…" keys.
/// `unit`: what is counted per second.
std::string console_line(const Json& row, int64_t total_steps, const std::string& unit = "tokens");

}  // namespace lora::metrics

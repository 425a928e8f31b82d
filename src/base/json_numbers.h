#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "lora/base/python_json.h"

// The numbers that Python's json module reads and JSON does not have.
namespace lora {

/// A value of NaN, Infinity or -Infinity, and where its name begins.
struct NonFinite {
  size_t begin;
  double value;
};

bool may_hold_non_finite(std::string_view text);
/// Replaces the names outside of strings by zeros of the same length, which a strict parser takes; returns what they were, in order.
std::vector<NonFinite> make_finite(std::string& text);

/// An integer that 64 bits do not hold, by its digits and sign.
Json make_large_integer(const std::string& digits);

}  // namespace lora

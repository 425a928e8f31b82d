#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "lora/base/python_json.h"

// The numbers that Python's json module reads although JSON does not have them.
namespace lora {

/// A NaN, Infinity or -Infinity, and the offset of its name.
struct NonFinite {
  size_t begin;
  double value;
};

bool may_hold_non_finite(std::string_view text);
/// Replaces the names outside strings with zeros of the same length, which a strict parser accepts. Returns the replaced values in order.
std::vector<NonFinite> make_finite(std::string& text);

/// An integer that does not fit into 64 bits, from its digits and sign.
Json make_large_integer(const std::string& digits);

}  // namespace lora

#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "lora/peft/update.h"

namespace lora::peft {

/// What a tensor of a module is in files that have one pair per module.
enum class PairPart { kDown, kUp, kAlpha, kMagnitude, kBias };

/// The tensors of a module in such a file.
using PairParts = std::map<PairPart, Tensor>;

/// A module's update: alpha is the rank if there is none. The parts' shapes are those of a linear module or of a convolution.
/// Throws model Error for one half of a pair, shapes that do not fit each other, values that are not finite, and an alpha that is not one
/// number above 0. @param where the file and the module, for messages.
LowRankUpdate update_of_parts(const std::string& module, const PairParts& parts, const std::string& where);

/// Reads a file's tensors by module. @param part_of returns the module and what the tensor is of it, or an empty name for an unknown key.
/// Throws model Error that lists unknown keys. @param expected what is known, for the message.
struct ParsedKey {
  std::string module;
  PairPart part = PairPart::kDown;
};
std::map<std::string, PairParts> read_parts(const std::filesystem::path& file, ParsedKey (*parse)(const std::string& key),
                                            const std::string& expected);

/// Whether one of the file's keys is known.
bool has_known_key(const std::filesystem::path& file, ParsedKey (*parse)(const std::string& key));

}  // namespace lora::peft

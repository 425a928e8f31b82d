#pragma once
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lora {

/// The one table between an enum and its names.
///   inline constexpr EnumTable<Color, 2> kColors{{{Color::kRed, "red"}, {Color::kBlue, "blue"}}};
template <typename Enum, size_t N>
struct EnumTable {
  struct Entry {
    Enum value;
    std::string_view name;
  };
  std::array<Entry, N> entries;

  constexpr std::string_view name(Enum value) const {
    for (const Entry& entry : entries) {
      if (entry.value == value) {
        return entry.name;
      }
    }
    return "?";
  }
  constexpr std::optional<Enum> find(std::string_view name) const {
    for (const Entry& entry : entries) {
      if (entry.name == name) {
        return entry.value;
      }
    }
    return std::nullopt;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> result;
    for (const Entry& entry : entries) {
      result.emplace_back(entry.name);
    }
    return result;
  }
};

}  // namespace lora

#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace lora::tokenizer {

/// Byte strings with numbers, searched byte by byte.
class Trie {
 public:
  using Node = uint32_t;
  static constexpr Node kRoot = 0;
  static constexpr Node kNone = UINT32_MAX;

  /// For equal strings the last number is used. Numbers are not negative.
  explicit Trie(std::vector<std::pair<std::string_view, int32_t>> entries);

  /// The node after `byte`; kNone if no string continues this way.
  Node step(Node node, unsigned char byte) const;
  /// The number of the string that ends at a node; -1 if none does.
  int32_t value(Node node) const { return nodes_[node].value; }
  /// The node after a whole string from `node`; kNone if there is none.
  Node walk(Node node, std::string_view text) const;

  struct Match {
    size_t size;
    int32_t value;
  };
  /// The longest string from `node` that is a prefix of `text`.
  std::optional<Match> longest(Node node, std::string_view text) const;

 private:
  struct NodeData {
    Node first_child = 0;
    uint16_t num_children = 0;
    int32_t value = -1;
  };

  std::vector<NodeData> nodes_;  ///< the children of a node are adjacent, sorted by their byte
  std::vector<unsigned char> bytes_;
  std::array<Node, 256> root_children_{};
};

}  // namespace lora::tokenizer

#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace lora::tokenizer {

/// Byte strings and their numbers, found by walking from byte to byte.
class Trie {
 public:
  using Node = uint32_t;
  static constexpr Node kRoot = 0;
  static constexpr Node kNone = UINT32_MAX;

  /// Of equal strings the last one counts. Numbers are not negative.
  explicit Trie(std::vector<std::pair<std::string_view, int32_t>> entries);

  /// The node behind `byte`, kNone if no string goes on so.
  Node step(Node node, unsigned char byte) const;
  /// The number of the string that ends at a node, -1 if none does.
  int32_t value(Node node) const { return nodes_[node].value; }
  /// The node behind a whole string from `node`, kNone if there is none.
  Node walk(Node node, std::string_view text) const;

  struct Match {
    size_t size;
    int32_t value;
  };
  /// The longest string that `text` begins with, from `node` on.
  std::optional<Match> longest(Node node, std::string_view text) const;

 private:
  struct NodeData {
    Node first_child = 0;
    uint16_t num_children = 0;
    int32_t value = -1;
  };

  std::vector<NodeData> nodes_;  ///< children of a node stand side by side, sorted by their byte
  std::vector<unsigned char> bytes_;
  std::array<Node, 256> root_children_{};
};

}  // namespace lora::tokenizer

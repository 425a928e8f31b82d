#include "tokenizer/json/trie.h"

#include <algorithm>

namespace lora::tokenizer {

Trie::Trie(std::vector<std::pair<std::string_view, int32_t>> entries) {
  std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  // Built level by level: the entries below a node are a range of strings that share their first `depth` bytes.
  struct Open {
    size_t begin, end, depth;
  };
  std::vector<Open> open{{0, entries.size(), 0}};
  nodes_.emplace_back();
  bytes_.push_back(0);
  for (size_t node = 0; node < open.size(); ++node) {
    auto [begin, end, depth] = open[node];
    for (; begin < end && entries[begin].first.size() == depth; ++begin) {
      nodes_[node].value = entries[begin].second;
    }
    nodes_[node].first_child = static_cast<Node>(nodes_.size());
    while (begin < end) {
      const char byte = entries[begin].first[depth];
      size_t next = begin + 1;
      while (next < end && entries[next].first[depth] == byte) {
        ++next;
      }
      nodes_.emplace_back();
      bytes_.push_back(static_cast<unsigned char>(byte));
      open.push_back({begin, next, depth + 1});
      ++nodes_[node].num_children;
      begin = next;
    }
  }
  root_children_.fill(kNone);
  for (uint16_t i = 0; i < nodes_[kRoot].num_children; ++i) {
    root_children_[bytes_[nodes_[kRoot].first_child + i]] = nodes_[kRoot].first_child + i;
  }
}

Trie::Node Trie::step(Node node, unsigned char byte) const {
  if (node == kRoot) {
    return root_children_[byte];
  }
  const auto begin = bytes_.begin() + nodes_[node].first_child;
  const auto end = begin + nodes_[node].num_children;
  const auto found = std::lower_bound(begin, end, byte);
  return found != end && *found == byte ? static_cast<Node>(found - bytes_.begin()) : kNone;
}

Trie::Node Trie::walk(Node node, std::string_view text) const {
  for (size_t i = 0; i < text.size() && node != kNone; ++i) {
    node = step(node, static_cast<unsigned char>(text[i]));
  }
  return node;
}

std::optional<Trie::Match> Trie::longest(Node node, std::string_view text) const {
  std::optional<Match> best;
  for (size_t i = 0; i < text.size(); ++i) {
    node = step(node, static_cast<unsigned char>(text[i]));
    if (node == kNone) {
      break;
    }
    if (value(node) >= 0) {
      best = Match{i + 1, value(node)};
    }
  }
  return best;
}

}  // namespace lora::tokenizer

#include <algorithm>
#include <cstdint>
#include <vector>

#include "lora/base/error.h"
#include "tokenizer/model_check.h"

namespace lora::tokenizer {
namespace {

constexpr size_t kBlock = 256;                 // a node's children are in one aligned block of this many units
constexpr size_t kMaxUnits = size_t{1} << 20;  // nmt_nfkc has 60,000
constexpr int kMaxRulesAtOnePlace = 32;        // size of the array of matches in the library
constexpr size_t kMaxReplacementBytes = 4096;  // Unicode's longest compatibility mapping has 33

// A unit of the double array (Yata's darts-clone): bits 0-7 are the label, bit 8 means that it has a value, bits 9 and 10-30 are the
// offset, bit 31 means that it is a value.
struct Unit {
  uint32_t bits;
  bool is_value() const { return (bits >> 31) != 0; }
  bool has_value() const { return ((bits >> 8) & 1) != 0; }
  uint32_t value() const { return bits & 0x7fffffffU; }
  uint32_t label() const { return bits & 0xffU; }
  size_t offset() const { return static_cast<size_t>(bits >> 10) << ((bits & (1U << 9)) >> 6); }
};

class CharsmapCheck {
 public:
  CharsmapCheck(std::string_view blob, const std::string& where) : where_(where) {
    const uint32_t trie_bytes = blob.size() > 4 ? word(blob, 0) : 0;
    if (trie_bytes == 0 || trie_bytes >= blob.size() - 4 || trie_bytes % (4 * kBlock) != 0 || trie_bytes / 4 > kMaxUnits) {
      fail("its trie has an impossible size");
    }
    units_.resize(trie_bytes / 4);
    for (size_t i = 0; i < units_.size(); ++i) {
      units_[i] = Unit{word(blob, 4 + 4 * i)};
    }
    strings_ = blob.substr(4 + trie_bytes);
  }

  void check() const {
    require_valid_strings();
    for (size_t i = 0; i < units_.size(); ++i) {
      if (i == 0 || !units_[i].is_value()) {
        require_valid_unit(i);
      }
    }
    require_bounded_depth();
  }

 private:
  static uint32_t word(std::string_view blob, size_t at) {
    uint32_t value = 0;
    for (size_t i = 0; i < 4; ++i) {
      value |= static_cast<uint32_t>(static_cast<unsigned char>(blob[at + i])) << (8 * i);
    }
    return value;
  }

  size_t children(size_t node) const { return node ^ units_[node].offset(); }

  void require_valid_strings() const {
    if (strings_.back() != '\0') {
      fail("its last replacement has no end");
    }
    for (size_t begin = 0; begin < strings_.size();) {
      const size_t end = strings_.find('\0', begin);
      if (end - begin > kMaxReplacementBytes) {
        fail("a replacement is " + std::to_string(end - begin) + " bytes long");
      }
      begin = end + 1;
    }
  }

  void require_valid_unit(size_t node) const {
    const size_t first = children(node);
    if ((first | (kBlock - 1)) >= units_.size()) {
      fail("unit " + std::to_string(node) + " of its trie points outside the trie");
    }
    if (units_[node].has_value() && units_[first].value() >= strings_.size()) {
      fail("unit " + std::to_string(node) + " of its trie points beyond the replacements");
    }
  }

  // The longest chain of rules that are prefixes of each other, over every path from the root. Paths may share nodes.
  void require_bounded_depth() const {
    enum : uint8_t { kNew, kOpen, kDone };
    struct Visit {
      size_t node;
      size_t next_label;
    };
    std::vector<uint8_t> state(units_.size(), kNew);
    std::vector<int> rules(units_.size(), 0);
    std::vector<Visit> path{{0, 0}};
    state[0] = kOpen;
    while (!path.empty()) {
      Visit& visit = path.back();
      if (visit.next_label == kBlock) {
        finish(visit.node, rules, path.size() > 1 ? path[path.size() - 2].node : 0);
        state[visit.node] = kDone;
        path.pop_back();
        continue;
      }
      const size_t label = visit.next_label++;
      const size_t child = children(visit.node) ^ label;
      if (units_[child].is_value() || units_[child].label() != label) {
        continue;
      }
      if (state[child] == kOpen) {
        fail("its trie has a loop");
      }
      if (state[child] == kDone) {
        rules[visit.node] = std::max(rules[visit.node], rules[child]);
      } else {
        state[child] = kOpen;
        path.push_back({child, 0});
      }
    }
  }

  // All children of `node` are counted: adds its own rule and passes the sum to its parent.
  void finish(size_t node, std::vector<int>& rules, size_t parent) const {
    rules[node] += units_[node].has_value() ? 1 : 0;
    if (rules[node] > kMaxRulesAtOnePlace) {
      fail("more than " + std::to_string(kMaxRulesAtOnePlace) + " of its rules are prefixes of each other");
    }
    if (parent != node) {
      rules[parent] = std::max(rules[parent], rules[node]);
    }
  }

  [[noreturn]] void fail(const std::string& what) const {
    model_error(where_, "the normalization table is damaged: " + what + ". Likely cause: an incomplete download. Download the file again.");
  }

  std::string where_;
  std::vector<Unit> units_;
  std::string_view strings_;
};

}  // namespace

void require_valid_charsmap(std::string_view blob, const std::string& where) {
  CharsmapCheck(blob, where).check();
}

}  // namespace lora::tokenizer

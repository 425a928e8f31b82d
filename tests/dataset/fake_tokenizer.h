#pragma once
#include <map>

#include "lora/tokenizer/tokenizer.h"

namespace lora::test {

/// A tokenizer whose ids can be computed mentally: each byte is its value + 10, but "ab" is one token, 300. BOS is 1, EOS is 2. `specials`
/// are the special tokens that have text.
class FakeTokenizer : public tokenizer::Tokenizer {
 public:
  bool wants_bos = true;
  bool wants_eos = false;
  std::optional<int32_t> bos = 1;
  std::optional<int32_t> eos = 2;
  std::map<std::string, int32_t> pieces{{"ab", 300}};
  std::map<std::string, int32_t> specials;

  std::vector<int32_t> encode(std::string_view text) const override { return encode(text, pieces); }
  std::vector<int32_t> encode_with_specials(std::string_view text, bool /*add_special_tokens*/) const override {
    std::map<std::string, int32_t> all = pieces;
    all.insert(specials.begin(), specials.end());
    return encode(text, all);
  }
  static std::vector<int32_t> encode(std::string_view text, const std::map<std::string, int32_t>& pieces) {
    std::vector<int32_t> ids;
    while (!text.empty()) {
      size_t used = 1;
      int32_t id = static_cast<unsigned char>(text.front()) + 10;
      for (const auto& [piece, piece_id] : pieces) {
        if (text.starts_with(piece)) {
          used = piece.size();
          id = piece_id;
        }
      }
      ids.push_back(id);
      text.remove_prefix(used);
    }
    return ids;
  }
  tokenizer::Encoding encode_with_spans(std::string_view text) const override {
    tokenizer::Encoding encoding{encode(text), {}};
    size_t at = 0;
    for (const int32_t id : encoding.ids) {
      encoding.spans.push_back({at, at + token(id).size()});
      at = encoding.spans.back().end;
    }
    return encoding;
  }
  bool is_special(int32_t id) const override { return id < 10; }
  std::string decode(const std::vector<int32_t>& ids, bool show_special) const override {
    std::string text;
    for (const int32_t id : ids) {
      text += id < 10 && !show_special ? "" : token(id);
    }
    return text;
  }
  std::string token(int32_t id) const override {
    for (const auto& [name, special] : specials) {
      if (special == id) {
        return name;
      }
    }
    return id == 300 ? "ab" : std::string(1, static_cast<char>(id - 10));
  }
  int64_t vocab_size() const override { return 301; }
  std::optional<int32_t> bos_id() const override { return bos; }
  std::optional<int32_t> eos_id() const override { return eos; }
  bool add_bos() const override { return wants_bos; }
  bool add_eos() const override { return wants_eos; }
  std::vector<std::filesystem::path> files() const override { return {}; }
};

}  // namespace lora::test

#include "tokenizer/json/added_tokens.h"

#include <algorithm>

#include "lora/base/error.h"
#include "lora/base/text.h"
#include "tokenizer/json/component.h"
#include "tokenizer/unicode/properties.h"
#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer {
namespace {

constexpr size_t kMaxContentBytes = 10'000;

bool ends_with_word(std::string_view text) {
  if (text.empty()) {
    return false;
  }
  size_t at = previous_begin(text, text.size());
  return is_word(next_code_point(text, at));
}

bool begins_with_word(std::string_view text) {
  size_t at = 0;
  return !text.empty() && is_word(next_code_point(text, at));
}

/// The offset of the trailing spaces of `text`, at least `least`.
size_t begin_of_spaces(std::string_view text, size_t least) {
  size_t begin = text.size();
  while (begin > least) {
    size_t at = previous_begin(text, begin);
    const size_t last = at;
    if (!is_space(next_code_point(text, at))) {
      break;
    }
    begin = last;
  }
  return begin;
}

size_t end_of_spaces(std::string_view text, size_t begin) {
  size_t end = begin;
  for (size_t at = begin; at < text.size() && is_space(next_code_point(text, at));) {
    end = at;
  }
  return end;
}

}  // namespace

AddedToken read_added_token(const Json& token, const std::string& where) {
  const JsonReader reader(token, where, ErrorKind::kModel);
  return {reader.string("content"),
          reader.boolean("single_word", false),
          reader.boolean("lstrip", false),
          reader.boolean("rstrip", false),
          reader.boolean("normalized", !reader.boolean("special", false)),
          reader.boolean("special", false)};
}

void AddedTokens::add(const std::vector<AddedToken>& tokens, const TokenTable& vocabulary, const Normalizers& normalizers,
                      const std::string& where) {
  int32_t next = std::max(end(), static_cast<int32_t>(vocabulary.size()));
  for (const AddedToken& token : tokens) {
    if (token.content.empty()) {
      continue;
    }
    const auto known = id(token.content);
    const auto of_model = vocabulary.id(token.content);
    put(token, known ? *known : of_model ? *of_model : next++, normalizers, where);
  }
}

void AddedTokens::put(const AddedToken& token, int32_t id, const Normalizers& normalizers, const std::string& where) {
  if (token.content.size() > kMaxContentBytes) {
    model_error(where, "an added token is too long: found " + std::to_string(token.content.size()) + " bytes, expected at most " +
                           std::to_string(kMaxContentBytes) + ". Likely cause: a damaged file.");
  }
  Entry entry{token, token.normalized ? normalizers.normalize(token.content, true).text : token.content};
  if (entry.pattern.empty()) {
    model_error(where, "the added token " + printable(token.content) + " normalizes to nothing. Likely cause: a damaged file.");
  }
  ids_[token.content] = id;
  if (token.special) {
    special_.insert(token.content);
  }
  tokens_[id] = std::move(entry);
}

std::optional<int32_t> AddedTokens::id(const std::string& content) const {
  const auto found = ids_.find(content);
  return found != ids_.end() ? std::optional(found->second) : std::nullopt;
}

const std::string* AddedTokens::decoded(int32_t id) const {
  const auto found = tokens_.find(id);
  return found != tokens_.end() ? &found->second.pattern : nullptr;
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const auto found = tokens_.find(id);
  return found != tokens_.end() ? &found->second.token : nullptr;
}

void AddedTokens::prepare() {
  for (Search* search : {&plain_, &normalized_}) {
    std::vector<std::pair<std::string_view, int32_t>> patterns;
    for (const auto& [id, entry] : tokens_) {
      if (entry.token.normalized == (search == &normalized_)) {
        patterns.emplace_back(entry.pattern, id);
        search->begins[static_cast<unsigned char>(entry.pattern.front())] = true;
      }
    }
    if (!patterns.empty()) {
      search->trie.emplace(std::move(patterns));
    }
  }
}

// The leftmost longest token matches. A match that is then rejected still hides the tokens within it, as in `tokenizers`.
std::vector<AddedTokens::TextPart> AddedTokens::cut(std::string_view text, bool normalized, bool with_special) const {
  const Search& search = normalized ? normalized_ : plain_;
  std::vector<TextPart> parts;
  size_t done = 0;
  for (size_t at = 0; search.trie && at < text.size();) {
    if (!search.begins[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    const auto match = search.trie->longest(Trie::kRoot, text.substr(at));
    if (!match) {
      ++at;
      continue;
    }
    size_t begin = at;
    size_t end = at + match->size;
    at = end;
    const AddedToken& token = tokens_.at(match->value).token;
    const bool is_within_word = token.single_word && (ends_with_word(text.substr(0, begin)) || begins_with_word(text.substr(end)));
    if (is_within_word || (!with_special && special_.contains(token.content))) {
      continue;
    }
    if (token.lstrip) {
      begin = std::max(begin_of_spaces(text.substr(0, begin), std::min(done, begin)), done);
    }
    if (token.rstrip) {
      end = end_of_spaces(text, end);
    }
    if (done < begin) {
      parts.push_back({done, begin, -1});
    }
    parts.push_back({begin, end, match->value});
    done = end;
  }
  if (done < text.size()) {
    parts.push_back({done, text.size(), -1});
  }
  return parts;
}

}  // namespace lora::tokenizer

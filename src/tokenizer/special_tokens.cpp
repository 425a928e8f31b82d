#include "tokenizer/special_tokens.h"

#include <algorithm>

#include "lora/base/log.h"
#include "lora/base/text.h"

namespace lora::tokenizer {
namespace {

class Finder {
 public:
  Finder(const FolderSettings& settings, const Vocabulary& vocabulary, const std::string& where)
      : settings_(settings), vocabulary_(vocabulary), where_(where) {}

  SpecialTokens find() {
    for (const auto& [id, token] : settings_.added) {
      if (id >= vocabulary_.num_pieces) {
        add(static_cast<int32_t>(id), token);
      }
    }
    special_.bos = id_of("bos_token", vocabulary_.bos);
    special_.eos = id_of("eos_token", vocabulary_.eos);
    special_.add_bos = settings_.add_bos_token.value_or(true) && special_.bos;
    special_.add_eos = settings_.add_eos_token.value_or(false) && special_.eos;
    say_what_is_odd();
    return std::move(special_);
  }

 private:
  void add(int32_t id, const AddedToken& token) {
    special_.added[id] = token.content;
    if (!token.special && !settings_.has_role(token.content)) {
      special_.plain.insert(id);
    }
  }

  std::optional<int32_t> id_of(const char* role, std::optional<int32_t> own) {
    if (!settings_.says(role)) {
      return own;
    }
    const AddedToken* token = settings_.role(role);
    if (token == nullptr) {
      return std::nullopt;
    }
    const auto added =
        std::find_if(special_.added.begin(), special_.added.end(), [&](const auto& entry) { return entry.second == token->content; });
    const auto known = added != special_.added.end() ? std::optional(added->first) : vocabulary_.find(token->content);
    return known ? known : make(role, *token);
  }

  int32_t make(const char* role, const AddedToken& token) {
    const int32_t id =
        special_.added.empty() ? vocabulary_.num_pieces : std::max(vocabulary_.num_pieces, special_.added.rbegin()->first + 1);
    add(id, token);
    log::warn("[" + where_ + "] the " + role + " " + printable(token.content) + " is not a token of the file: it becomes a new token, " +
              std::to_string(id) + ", as in transformers. Likely cause: files of two models in one folder.");
    return id;
  }

  void say_what_is_odd() const {
    if (!settings_.add_bos_token && special_.add_bos && !settings_.files.empty()) {
      log::info("[" + where_ + "] tokenizer_config.json has no add_bos_token: a BOS is added before texts (transformers 5 adds none)");
    }
    if (settings_.add_eos_token.value_or(false) && !special_.eos) {
      log::warn("[" + where_ + "] add_eos_token is true, but there is no EOS token: none is added, as in transformers");
    }
  }

  const FolderSettings& settings_;
  const Vocabulary& vocabulary_;
  const std::string& where_;
  SpecialTokens special_;
};

}  // namespace

SpecialTokens find_special_tokens(const FolderSettings& settings, const Vocabulary& vocabulary, const std::string& where) {
  return Finder(settings, vocabulary, where).find();
}

}  // namespace lora::tokenizer

#include "tokenizer/json/token_table.h"

#include "lora/base/error.h"
#include "lora/base/text.h"

namespace lora::tokenizer {

std::string_view TokenTable::put(std::string token, int64_t id, const std::string& where) {
  if (id < 0 || id >= kMaxTokenId) {
    model_error(where, "the token " + printable(token) + " has the impossible id " + std::to_string(id) + ": expected 0 to " +
                           std::to_string(kMaxTokenId - 1) + ". Likely cause: a damaged file.");
  }
  const auto index = static_cast<size_t>(id);
  if (index >= by_id_.size()) {
    by_id_.resize(index + 1);
  }
  if (by_id_[index] && *by_id_[index] != token) {
    model_error(where, "two tokens have the id " + std::to_string(id) + ": " + printable(*by_id_[index]) + " and " + printable(token) +
                           ". Likely cause: a damaged file.");
  }
  by_id_[index] = texts_.emplace_back(std::move(token));
  return *by_id_[index];
}

void TokenTable::add(std::string token, int64_t id, const std::string& where) {
  const std::string_view text = put(std::move(token), id, where);
  if (!ids_.emplace(text, static_cast<int32_t>(id)).second) {
    model_error(where, "the token " + printable(text) + " occurs twice. Likely cause: a damaged file.");
  }
}

void TokenTable::add_or_replace(std::string token, int64_t id, const std::string& where) {
  ids_[put(std::move(token), id, where)] = static_cast<int32_t>(id);
}

std::optional<int32_t> TokenTable::id(std::string_view token) const {
  const auto found = ids_.find(token);
  return found != ids_.end() ? std::optional(found->second) : std::nullopt;
}

std::optional<std::string_view> TokenTable::token(int32_t id) const {
  return id >= 0 && id < end() ? by_id_[static_cast<size_t>(id)] : std::nullopt;
}

void TokenTable::reserve(size_t count) {
  ids_.reserve(count);
  by_id_.reserve(count);
}

TokenTable read_token_table(const Json& tokens, const std::string& where) {
  if (!tokens.is_object()) {
    model_error(where, "found " + type_name(tokens) + ", expected an object that maps tokens to ids");
  }
  TokenTable vocabulary;
  vocabulary.reserve(tokens.size());
  for (const auto& [token, id] : tokens.items()) {
    if (!id.is_number_integer()) {
      model_error(where, printable(token) + ": found " + shown(id) + ", expected an id");
    }
    vocabulary.add(token, id.get<int64_t>(), where);
  }
  return vocabulary;
}

}  // namespace lora::tokenizer

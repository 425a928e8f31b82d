#include "app/talk.h"

#include "lora/base/error.h"
#include "lora/base/text.h"
#include "lora/data/prompts.h"

namespace lora::app {

namespace {

/// User and assistant messages as pairs of instruction and reply.
std::vector<data::Turn> turns_of(const Json& messages) {
  std::vector<data::Turn> turns;
  for (const Json& message : messages) {
    const std::string content = message["content"].get<std::string>();
    message["role"] == "user" ? turns.push_back({content, ""}) : static_cast<void>(turns.back().reply = content);
  }
  return turns;
}

}  // namespace

std::vector<std::string> talk_stops(Generation& generation, const std::string& adapter) {
  return generation.chat_encoder(adapter) != nullptr ? std::vector<std::string>() : std::vector{trim(data::kNextInstruction)};
}

generate::Prompt Talk::ask(const std::string& text, const std::string& adapter, int64_t index) {
  for (const std::string* said : std::initializer_list<const std::string*>{&system_, &text}) {
    if (const size_t invalid = invalid_utf8_at(*said); invalid != std::string::npos) {
      data_error(where_, "the text is not valid UTF-8 at byte " + std::to_string(invalid));
    }
  }
  messages_.push_back({{"role", "user"}, {"content", text}});
  try {
    return {ids(adapter), index, generation_.turn_ends(adapter)};
  } catch (const Error&) {
    messages_.erase(messages_.size() - 1);
    throw;
  }
}

std::vector<int32_t> Talk::ids(const std::string& adapter) const {
  const int64_t vocab_size = generation_.model().vocab_size();
  if (const data::ChatEncoder* encoder = generation_.chat_encoder(adapter)) {
    std::vector<int32_t> ids = encoder->prompt({messages(), Json()}, where_).ids;
    data::require_valid_prompt(ids, generation_.tokenizer(), vocab_size, where_);
    return ids;
  }
  if (!system_.empty()) {
    data_error(where_, "a system message needs a chat template: found none. Choose one with --chat-template.");
  }
  return data::encode_prompt(data::conversation_prompt(turns_of(messages_)), generation_.text_rule(), vocab_size, where_);
}

void Talk::set_system(const std::string& text) {
  system_ = text;
  reset();
}

Json Talk::messages() const {
  Json all = system_.empty() ? Json::array() : Json::array({Json{{"role", "system"}, {"content", system_}}});
  all.insert(all.end(), messages_.begin(), messages_.end());
  return all;
}

}  // namespace lora::app

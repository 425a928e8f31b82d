#include "lora/data/chat.h"

#include "data/chat_turns.h"
#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/text.h"

namespace lora::data {
namespace {

using tokenizer::TextSpan;

std::string text_at(const Json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && found != object.end() && found->is_string() ? trim(found->get<std::string>()) : "";
}

/// The thought of a message: in a field of its own, or at the beginning of its content.
std::string thought_of(const Json& message) {
  for (const char* key : {"reasoning_content", "thinking", "reasoning"}) {
    if (const std::string thought = text_at(message, key); !thought.empty()) {
      return thought;
    }
  }
  const std::string content = text_at(message, "content");
  const size_t begin = content.find("<think>");
  const size_t end = content.find("</think>");
  return begin < end && end != std::string::npos ? trim(content.substr(begin + 7, end - begin - 7)) : "";
}

const Json& function_of(const Json& call) {
  return call.is_object() && call.contains("function") ? call["function"] : call;
}

/// A part of a conversation that a template unexpectedly drops or alters; empty if there is none.
std::string odd_of(const tokenizer::Conversation& conversation, const std::string& text) {
  const auto is_missing = [&text](const std::string& part) { return !part.empty() && text.find(part) == std::string::npos; };
  for (size_t i = 0; i < conversation.messages.size(); ++i) {
    const Json& message = conversation.messages[i];
    const std::string place = " of messages[" + std::to_string(i) + "]";
    if (is_missing(thought_of(message))) {
      return "omits the thought" + place;
    }
    const Json calls = message.value("tool_calls", Json());
    for (const Json& call : calls.is_array() ? calls : Json::array()) {
      if (is_missing(text_at(function_of(call), "name"))) {
        return "omits the tool_calls" + place;
      }
      if (is_missing(text_at(function_of(call), "arguments"))) {
        return "quotes the arguments of the tool_calls" + place + " a second time, because they are JSON text (use an object)";
      }
    }
  }
  for (const Json& tool : conversation.tools) {
    if (is_missing(text_at(function_of(tool), "name"))) {
      return "omits the tools";
    }
  }
  return "";
}

/// For each token, whether it shares a byte with a span. Both are in order.
std::vector<bool> mask_of(const std::vector<TextSpan>& tokens, const std::vector<TextSpan>& spans) {
  std::vector<bool> mask(tokens.size());
  auto span = spans.begin();
  for (size_t i = 0; i < tokens.size(); ++i) {
    while (span != spans.end() && span->end <= tokens[i].begin) {
      ++span;
    }
    mask[i] = span != spans.end() && span->begin < tokens[i].end;
  }
  return mask;
}

}  // namespace

EncodedChat ChatEncoder::encode(const tokenizer::Conversation& conversation, TrainOn train_on, const std::string& where,
                                const std::vector<bool>& excluded) const {
  tokenizer::RenderedChat rendered = template_.render(conversation, /*add_generation_prompt=*/false, where);
  const std::vector<TextSpan> spans =
      train_on == TrainOn::kAll ? all_but_excluded(template_, conversation, rendered, excluded, where)
                                : assistant_turns(template_, conversation, rendered, train_on == TrainOn::kLastTurn, excluded, where);
  std::vector<TextSpan> tokens;
  EncodedChat chat = tokens_of(std::move(rendered.text), &tokens, where);
  warn_of_forged(conversation, where);
  warn_of_odd(conversation, chat.text, where);
  chat.mask = mask_of(tokens, spans);
  if (train_on != TrainOn::kAll && !template_.marks_assistant(conversation)) {
    learn_turn_ends(chat);
  }
  require_turn_ends(chat, where);
  return chat;
}

EncodedChat ChatEncoder::prompt(const tokenizer::Conversation& conversation, const std::string& where) const {
  EncodedChat chat = tokens_of(template_.render(conversation, /*add_generation_prompt=*/true, where).text, nullptr, where);
  warn_of_forged(conversation, where);
  chat.mask.resize(chat.ids.size());
  return chat;
}

EncodedChat ChatEncoder::tokens_of(std::string text, std::vector<TextSpan>* spans, const std::string& where) const {
  EncodedChat chat;
  if (spans != nullptr) {
    tokenizer::Encoding encoding = tokenizer_.encode_with_spans(text);
    chat.ids = std::move(encoding.ids);
    *spans = std::move(encoding.spans);
  } else {
    chat.ids = tokenizer_.encode_with_specials(text, /*add_special_tokens=*/false);
  }
  const auto bos = tokenizer_.bos_id();
  if (bos && chat.ids.size() > 1 && chat.ids[0] == *bos && chat.ids[1] == *bos) {
    model_error(where, "the chat template " + template_.name() + " writes two BOS tokens (" + printable(tokenizer_.token(*bos)) +
                           "), expected at most one. Remove one of them in a file of your own, and name it by data.chat_template.");
  }
  if (bos && tokenizer_.add_bos() && (chat.ids.empty() || chat.ids[0] != *bos) && !warned_of_bos_.exchange(true)) {
    log::warn("[" + where + "] the chat template " + template_.name() +
              " writes no BOS token, although this tokenizer adds one to texts: none is added, as in transformers");
  }
  chat.text = std::move(text);
  return chat;
}

std::optional<int32_t> ChatEncoder::turn_end() const {
  const Json messages{{{"role", "user"}, {"content", "a"}}, {{"role", "assistant"}, {"content", "a"}}};
  ChatEncoder trial(template_, tokenizer_);
  trial.warned_of_bos_ = trial.warned_of_odd_ = true;  // only the user's rows, which have a position, cause these warnings
  try {
    const EncodedChat chat = trial.encode({messages, Json()}, TrainOn::kLastTurn, "a trial of the chat template");
    for (size_t i = chat.ids.size(); i-- > 0;) {
      if (chat.mask[i] && ends_turn(chat.ids[i])) {
        return chat.ids[i];
      }
    }
  } catch (const Error&) {  // the template rejects this conversation
  }
  return std::nullopt;
}

bool ChatEncoder::ends_turn(int32_t id) const {
  return tokenizer_.is_special(id) || id == tokenizer_.eos_id();
}

// Some templates (GLM) have no end-of-turn token: the model stops with the special token that begins the next turn.
void ChatEncoder::learn_turn_ends(EncodedChat& chat) const {
  for (size_t i = 1; i < chat.ids.size(); ++i) {
    if (chat.mask[i] || !chat.mask[i - 1] || !ends_turn(chat.ids[i])) {
      continue;
    }
    size_t last = i - 1;
    while (last > 0 && chat.mask[last - 1] && trim(tokenizer_.decode({chat.ids[last]}, /*show_special=*/true)).empty()) {
      --last;
    }
    chat.mask[i] = !ends_turn(chat.ids[last]);
  }
}

// A turn without any special token belongs to a template that ends turns with plain text.
void ChatEncoder::require_turn_ends(const EncodedChat& chat, const std::string& where) const {
  bool has_end = false;
  for (size_t i = 0; i + 1 < chat.ids.size(); ++i) {
    has_end = chat.mask[i] && (has_end || ends_turn(chat.ids[i]));
    const bool is_left_out = chat.mask[i] && !chat.mask[i + 1] && !has_end && ends_turn(chat.ids[i + 1]);
    if (is_left_out) {
      model_error(where, "the chat template " + template_.name() +
                             " excludes the end of the assistant's turn from its {% generation %} marks: found " +
                             printable(tokenizer_.token(chat.ids[i + 1])) + " after them, expected it inside. A model that is not " +
                             "trained on it does not stop.");
    }
  }
}

// transformers also converts such text to the token.
void ChatEncoder::warn_of_forged(const tokenizer::Conversation& conversation, const std::string& where) const {
  for (const Json& message : conversation.messages) {
    const auto content = message.find("content");
    if (warned_of_forged_ || content == message.end() || !content->is_string()) {
      continue;
    }
    const std::string& text = content->get_ref<const std::string&>();
    if (text.find_first_of("<[") == std::string::npos) {
      continue;
    }
    for (const int32_t id : tokenizer_.encode_with_specials(text, /*add_special_tokens=*/false)) {
      if (tokenizer_.is_special(id) && !warned_of_forged_.exchange(true)) {
        log::warn("[" + where + "] a message's content contains the text of the special token " + printable(tokenizer_.token(id)) +
                  ", which becomes that token, as in transformers (reported once)");
      }
    }
  }
}

// The model is not trained on what a template omits: thoughts of earlier turns, calls, or tools.
void ChatEncoder::warn_of_odd(const tokenizer::Conversation& conversation, const std::string& text, const std::string& where) const {
  if (warned_of_odd_) {
    return;
  }
  const std::string what = odd_of(conversation, text);
  if (!what.empty() && !warned_of_odd_.exchange(true)) {
    log::warn("[" + where + "] the chat template " + template_.name() + " " + what + ", as in transformers (reported once)");
  }
}

}  // namespace lora::data

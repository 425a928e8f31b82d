#include "data/marked_turns.h"

#include <algorithm>

#include "lora/base/error.h"
#include "lora/base/text.h"

namespace lora::data {
namespace {

using tokenizer::TextSpan;

constexpr std::string_view kEndOfThought = "</think>";

bool is_blank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

/// Puts `mark` into the middle of a text's content, so that a template sees the same beginning and end; in a text with a thought, which
/// templates may omit, into the part after the thought.
bool mark_text(std::string& text, const std::string& mark) {
  size_t begin = text.rfind(kEndOfThought);
  begin = begin == std::string::npos || is_blank(std::string_view(text).substr(begin + kEndOfThought.size()))
              ? 0
              : begin + kEndOfThought.size();
  begin = text.find_first_not_of(" \t\r\n", begin);
  if (begin == std::string::npos) {
    return false;
  }
  const size_t end = text.find_last_not_of(" \t\r\n") + 1;
  size_t middle = begin + (end - begin + 1) / 2;
  while (middle < end && (static_cast<unsigned char>(text[middle]) & 0xc0) == 0x80) {
    ++middle;
  }
  text.insert(middle, mark);
  return true;
}

/// Marks the first text in a value.
bool mark_value(Json& value, const std::string& mark) {
  if (value.is_string()) {
    return mark_text(value.get_ref<std::string&>(), mark);
  }
  return (value.is_object() || value.is_array()) &&
         std::any_of(value.begin(), value.end(), [&](Json& item) { return mark_value(item, mark); });
}

bool mark_arguments(Json& function, const std::string& mark) {
  const auto arguments = function.find("arguments");
  if (arguments != function.end() && mark_value(*arguments, mark)) {
    return true;
  }
  if (arguments != function.end() && arguments->is_object() && !arguments->empty()) {
    Json renamed = Json::object();
    for (const auto& [key, value] : arguments->items()) {
      renamed[renamed.empty() ? key + mark : key] = value;
    }
    *arguments = std::move(renamed);
    return true;
  }
  const auto name = function.find("name");
  return name != function.end() && mark_value(*name, mark);
}

bool mark_last_call(Json& message, const std::string& mark) {
  const auto calls = message.find("tool_calls");
  if (calls == message.end() || !calls->is_array() || calls->empty() || !calls->back().is_object()) {
    return false;
  }
  const auto function = calls->back().find("function");
  return mark_arguments(function != calls->back().end() && function->is_object() ? *function : calls->back(), mark);
}

bool mark_content(Json& message, const std::string& mark) {
  const auto content = message.find("content");
  if (content == message.end()) {
    return false;
  }
  if (content->is_array() && !content->empty() && content->back().is_object() && content->back().contains("text")) {
    return mark_value(content->back()["text"], mark);
  }
  return mark_value(*content, mark);
}

void mark_message(Json& message, const std::string& mark) {
  const bool has_call = mark_last_call(message, mark);
  if (mark_content(message, mark) || has_call) {
    return;
  }
  for (const char* thought : {"reasoning_content", "thinking", "reasoning"}) {
    if (message.contains(thought) && mark_value(message[thought], mark)) {
      return;
    }
  }
}

size_t shared_size(std::string_view a, std::string_view b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

/// The length of the longest prefix of a text that ends where a token of a template can end.
size_t end_of_token(std::string_view text) {
  return text.find_last_of(">]|\n") + 1;  // npos + 1: none
}

}  // namespace

MarkedTurns::MarkedTurns(const tokenizer::ChatTemplate& chat_template, const tokenizer::Conversation& conversation, const std::string& text,
                         const std::string& where, const std::vector<size_t>& indices)
    : template_(chat_template), text_(text), where_(where), marked_(conversation), mark_("qzx") {
  while (text_.find(mark_) != std::string::npos) {
    mark_ += "qzx";
  }
  for (const size_t index : indices) {
    mark_message(marked_.messages[index], mark_ + std::to_string(index) + "k");
  }
  try {
    std::string marked = template_.render(marked_, false, where_).text;
    if (without_marks(marked) == text_) {
      marked_text_ = std::move(marked);
    }
  } catch (const Error&) {  // the template depends on text that the marks have changed
  }
}

std::optional<TextSpan> MarkedTurns::span(size_t index) const {
  try {
    auto beginning = marked_text_ ? this->beginning(index) : std::nullopt;
    if (beginning && beginning->prompt.empty() && !begins_with_content(index, beginning->at)) {
      beginning.reset();
    }
    const auto end = beginning ? this->end(index, beginning->prompt) : std::nullopt;
    return end && *end >= beginning->at ? std::optional(TextSpan{beginning->at, *end}) : std::nullopt;
  } catch (const Error&) {  // the template rejects a part of the conversation
    return std::nullopt;
  }
}

std::string MarkedTurns::rendered(size_t count, bool add_generation_prompt) const {
  tokenizer::Conversation part{Json::array(), marked_.tools, marked_.kwargs};
  for (size_t i = 0; i < count; ++i) {
    part.messages.push_back(marked_.messages[i]);
  }
  return template_.render(part, add_generation_prompt, where_).text;
}

size_t MarkedTurns::count_of(const std::string& marked, size_t index) const {
  const std::string mark = mark_ + std::to_string(index) + "k";
  size_t count = 0;
  for (size_t at = marked.find(mark); at != std::string::npos; at = marked.find(mark, at + mark.size())) {
    ++count;
  }
  return count;
}

/// The position of the nth mark of a message, in the whole text without marks.
std::optional<size_t> MarkedTurns::place_of(size_t index, size_t nth) const {
  if (nth == 0 || count_of(*marked_text_, index) < nth) {
    return std::nullopt;
  }
  return text_.size() - tail_after(*marked_text_, index, nth).size();
}

/// The text after the nth mark of a message, without marks.
std::string MarkedTurns::tail_after(const std::string& marked, size_t index, size_t nth) const {
  const std::string mark = mark_ + std::to_string(index) + "k";
  size_t end = 0;
  for (size_t i = 0; i < nth; ++i) {
    end = marked.find(mark, end) + mark.size();
  }
  return without_marks(marked.substr(end));
}

std::string MarkedTurns::without_marks(const std::string& marked) const {
  std::string text;
  size_t begin = 0;
  for (size_t at = marked.find(mark_); at != std::string::npos; at = marked.find(mark_, begin)) {
    text.append(marked, begin, at - begin);
    begin = std::min(marked.find('k', at), marked.size() - 1) + 1;
  }
  return text.append(marked, begin);
}

bool MarkedTurns::follows(size_t at, const std::string& expected) const {
  return text_.compare(at, expected.size(), expected) == 0;
}

/// Whether the text from here on begins with the message's content up to its mark.
bool MarkedTurns::begins_with_content(size_t index, size_t at) const {
  const Json content = marked_.messages[index].value("content", Json());
  const std::string said = content.is_string() ? trim(content.get<std::string>()) : "";
  const size_t mark = said.find(mark_);
  const size_t begin = std::min(text_.find_first_not_of(" \t\r\n", at), text_.size());
  return mark != std::string::npos && follows(begin, said.substr(0, mark));
}

/// The position after the text that the template writes between the previous message and the answer. If the whole text lacks the end of
/// the generation prompt (the beginning of a thought that the template omits), the turn begins where the two differ.
std::optional<MarkedTurns::Beginning> MarkedTurns::beginning(size_t index) const {
  const std::string with_prompt = rendered(index, true);
  const size_t nth = count_of(with_prompt, index - 1);
  const auto before = place_of(index - 1, nth);
  if (!before) {
    return std::nullopt;
  }
  const std::string without_prompt = rendered(index, false);
  const std::string tail = tail_after(with_prompt, index - 1, nth);
  const std::string closing = count_of(without_prompt, index - 1) < nth ? "" : tail_after(without_prompt, index - 1, nth);
  // Some templates end a conversation without a generation prompt with an additional token.
  const size_t same = shared_size(tail, closing);
  const size_t prompt_begin = same == closing.size() ? same : end_of_token(std::string_view(tail).substr(0, same));
  const std::string prompt = tail.substr(prompt_begin);
  if (follows(*before, tail)) {
    return Beginning{*before + tail.size(), prompt};
  }
  if (same != closing.size() || prompt.empty() || !follows(*before, closing)) {
    return std::nullopt;
  }
  const size_t turn = *before + prompt_begin;
  const size_t shared = end_of_token(std::string_view(prompt).substr(0, shared_size(prompt, std::string_view(text_).substr(turn))));
  return shared > 0 ? std::optional(Beginning{turn + shared, prompt}) : std::nullopt;
}

std::optional<size_t> MarkedTurns::end(size_t index, const std::string& prompt) const {
  if (index + 1 == marked_.messages.size()) {
    return text_.size();
  }
  // Some templates end the last turn with another token than the turns before it, but not if a generation prompt follows.
  for (const bool add_generation_prompt : {false, true}) {
    const std::string up_to_here = rendered(index + 1, add_generation_prompt);
    const size_t nth = count_of(up_to_here, index);
    const auto place = place_of(index, nth);
    if (!place) {
      continue;
    }
    std::string tail = tail_after(up_to_here, index, nth);
    if (add_generation_prompt && (prompt.empty() || !tail.ends_with(prompt))) {
      continue;
    }
    tail.resize(tail.size() - (add_generation_prompt ? prompt.size() : 0));
    if (follows(*place, tail)) {
      return *place + tail.size();
    }
  }
  return std::nullopt;
}

}  // namespace lora::data

#include "data/chat_turns.h"

#include <algorithm>
#include <optional>

#include "lora/base/error.h"
#include "lora/base/text.h"

namespace lora::data {
namespace {

using tokenizer::TextSpan;

constexpr const char* kRemedy = " Use a template with {% generation %} marks (data.chat_template), or train_on ";

class Turns {
 public:
  Turns(const tokenizer::ChatTemplate& chat_template, const tokenizer::Conversation& conversation, const std::string& text,
        const std::string& where)
      : template_(chat_template), conversation_(conversation), text_(text), where_(where) {
    for (size_t i = 0; i < conversation.messages.size(); ++i) {
      if (conversation.messages[i]["role"] == "assistant") {
        assistants_.push_back(i);
      }
    }
  }

  const std::vector<size_t>& assistants() const { return assistants_; }

  /// The text of the first `count` messages.
  std::string before(size_t count, bool add_generation_prompt) const {
    tokenizer::Conversation beginning{Json::array(), conversation_.tools};
    for (size_t i = 0; i < count; ++i) {
      beginning.messages.push_back(conversation_.messages[i]);
    }
    return template_.render(beginning, add_generation_prompt, where_).text;
  }

  TextSpan span(size_t index) const {
    const std::string turn = "messages[" + std::to_string(index) + "]";
    if (index == 0) {
      model_error(where_, turn + ": the conversation begins with the assistant, and the chat template " + template_.name() +
                              " does not mark where its turn begins." + kRemedy + "\"all\".");
    }
    const std::string prompt = before(index, true);
    const bool is_last = index + 1 == conversation_.messages.size();
    const std::string up_to_here = is_last ? text_ : before(index + 1, false);
    if (!up_to_here.starts_with(prompt)) {
      disagree(turn, "the messages before it, with the generation prompt, are no beginning of the messages up to it", prompt, up_to_here);
    }
    if (!text_.starts_with(up_to_here)) {
      if (const auto span = span_by_content(index, prompt, up_to_here)) {
        return *span;
      }
      disagree(turn, "the messages up to it are no beginning of the whole conversation", up_to_here, text_);
    }
    check_generation_prompt(turn, index, prompt, up_to_here.substr(prompt.size()));
    return {prompt.size(), up_to_here.size()};
  }

 private:
  std::string content_of(size_t index) const {
    const auto content = conversation_.messages[index].find("content");
    return content != conversation_.messages[index].end() && content->is_string() ? trim(content->get<std::string>()) : "";
  }

  /// For templates that write more of a turn while it is the last one (an empty thought, as Qwen3's): the content follows the
  /// generation prompt, and what ends the turn there ends it here.
  std::optional<TextSpan> span_by_content(size_t index, const std::string& prompt, const std::string& up_to_here) const {
    const std::string content = content_of(index);
    const size_t there = content.empty() ? std::string::npos : up_to_here.rfind(content);
    if (there == std::string::npos || there < prompt.size() || !text_.starts_with(prompt)) {
      return std::nullopt;
    }
    const std::string said = content + up_to_here.substr(there + content.size());
    const size_t here = std::min(text_.find_first_not_of(" \t\r\n", prompt.size()), text_.size());
    if (said.size() == content.size() || text_.compare(here, said.size(), said) != 0) {
      return std::nullopt;
    }
    return TextSpan{prompt.size(), here + said.size()};
  }

  [[noreturn]] void disagree(const std::string& turn, const std::string& what, const std::string& beginning,
                             const std::string& whole) const {
    const auto at =
        static_cast<size_t>(std::mismatch(beginning.begin(), beginning.end(), whole.begin(), whole.end()).first - beginning.begin());
    const size_t from = at > 20 ? at - 20 : 0;
    model_error(where_, turn + ": the chat template " + template_.name() + " writes prefixes that do not agree: " + what + ": found '" +
                            printable(beginning.substr(from), 50) + "', expected '" + printable(whole.substr(from), 50) + "'." + kRemedy +
                            "\"last_turn\".");
  }

  /// A template that ignores add_generation_prompt must begin the assistant's turn with what it says.
  void check_generation_prompt(const std::string& turn, size_t index, const std::string& prompt, const std::string& said) const {
    const std::string expected = content_of(index);
    if (expected.empty() || trim(said).starts_with(expected) || before(index, false) != prompt) {
      return;
    }
    model_error(where_, turn + ": the chat template " + template_.name() + " has no generation prompt: with and without " +
                            "add_generation_prompt it writes the same, and the turn begins with '" + printable(said, 40) +
                            "', expected what the assistant says." + kRemedy + "\"all\".");
  }

  const tokenizer::ChatTemplate& template_;
  const tokenizer::Conversation& conversation_;
  const std::string& text_;
  const std::string& where_;
  std::vector<size_t> assistants_;
};

/// Of the marks those that belong to the last turn: they stand behind the messages before it, as far as these show in the text.
std::vector<TextSpan> last_marks(const Turns& turns, const tokenizer::RenderedChat& rendered) {
  std::vector<TextSpan> marks;
  const size_t last = turns.assistants().back();
  const std::string before = last > 0 ? turns.before(last, false) : "";
  if (rendered.text.starts_with(before)) {
    std::copy_if(rendered.assistant.begin(), rendered.assistant.end(), std::back_inserter(marks),
                 [&before](const TextSpan& mark) { return mark.begin >= before.size(); });
  }
  if (marks.empty()) {
    marks.push_back(rendered.assistant.back());
  }
  return marks;
}

}  // namespace

std::vector<TextSpan> assistant_turns(const tokenizer::ChatTemplate& chat_template, const tokenizer::Conversation& conversation,
                                      const tokenizer::RenderedChat& rendered, bool last_only, const std::string& where) {
  const Turns turns(chat_template, conversation, rendered.text, where);
  if (turns.assistants().empty()) {
    return {};
  }
  if (chat_template.marks_assistant(conversation)) {
    return !last_only || rendered.assistant.empty() ? rendered.assistant : last_marks(turns, rendered);
  }
  std::vector<TextSpan> spans;
  for (const size_t index : turns.assistants()) {
    if (!last_only || index == turns.assistants().back()) {
      spans.push_back(turns.span(index));
    }
  }
  return spans;
}

}  // namespace lora::data

#include "data/chat_turns.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "data/marked_turns.h"
#include "lora/base/error.h"
#include "lora/base/text.h"

namespace lora::data {
namespace {

using tokenizer::TextSpan;

constexpr const char* kRemedy = ". Use a template with {% generation %} marks (data.chat_template), or set data.train_on to ";

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
    tokenizer::Conversation beginning{Json::array(), conversation_.tools, conversation_.kwargs};
    for (size_t i = 0; i < count; ++i) {
      beginning.messages.push_back(conversation_.messages[i]);
    }
    return template_.render(beginning, add_generation_prompt, where_).text;
  }

  TextSpan span(size_t index) const {
    const std::string turn = "messages[" + std::to_string(index) + "]";
    if (index == 0) {
      model_error(where_, turn + ": the conversation begins with the assistant, and the chat template " + template_.name() +
                              " does not mark where its turn begins" + kRemedy + "\"all\".");
    }
    const std::string prompt = before(index, true);
    const bool is_last = index + 1 == conversation_.messages.size();
    const std::string up_to_here = is_last ? text_ : before(index + 1, false);
    if (!up_to_here.starts_with(prompt) || !text_.starts_with(up_to_here)) {
      if (const auto span = marked_span(index)) {
        return *span;
      }
    }
    if (!up_to_here.starts_with(prompt)) {
      disagree(turn, "the messages before it with the generation prompt are not a prefix of the messages up to it", prompt, up_to_here);
    }
    if (!text_.starts_with(up_to_here)) {
      disagree(turn, "the messages up to it are not a prefix of the whole conversation", up_to_here, text_);
    }
    require_generation_prompt(turn, index, prompt, up_to_here.substr(prompt.size()));
    return {prompt.size(), up_to_here.size()};
  }

 private:
  std::string content_of(size_t index) const {
    const auto content = conversation_.messages[index].find("content");
    return content != conversation_.messages[index].end() && content->is_string() ? trim(content->get<std::string>()) : "";
  }

  /// For templates that write a turn differently when other turns follow it.
  std::optional<TextSpan> marked_span(size_t index) const {
    if (!marked_) {
      std::vector<size_t> all(conversation_.messages.size());
      std::iota(all.begin(), all.end(), size_t{0});
      marked_.emplace(template_, conversation_, text_, where_, all);
    }
    if (const auto span = marked_->span(index)) {
      return span;
    }
    return MarkedTurns(template_, conversation_, text_, where_, {index - 1, index}).span(index);
  }

  [[noreturn]] void disagree(const std::string& turn, const std::string& what, const std::string& beginning,
                             const std::string& whole) const {
    const auto at =
        static_cast<size_t>(std::mismatch(beginning.begin(), beginning.end(), whole.begin(), whole.end()).first - beginning.begin());
    const size_t from = at > 20 ? at - 20 : 0;
    model_error(where_, turn + ": the chat template " + template_.name() + " writes prefixes that do not agree: " + what + ": found '" +
                            printable(beginning.substr(from), 50) + "', expected '" + printable(whole.substr(from), 50) + "'" + kRemedy +
                            "\"last_turn\".");
  }

  /// If a template ignores add_generation_prompt, the assistant's turn must begin with its content.
  void require_generation_prompt(const std::string& turn, size_t index, const std::string& prompt, const std::string& said) const {
    const std::string expected = content_of(index);
    if (expected.empty() || trim(said).starts_with(expected) || before(index, false) != prompt) {
      return;
    }
    model_error(where_, turn + ": the chat template " + template_.name() + " has no generation prompt: with and without " +
                            "add_generation_prompt it writes the same text, and the turn begins with '" + printable(said, 40) +
                            "', expected the content of the message" + kRemedy + "\"all\".");
  }

  const tokenizer::ChatTemplate& template_;
  const tokenizer::Conversation& conversation_;
  const std::string& text_;
  const std::string& where_;
  std::vector<size_t> assistants_;
  mutable std::optional<MarkedTurns> marked_;
};

/// The marks of the last turn: those after the text of the messages before it, if that text is a prefix of the whole.
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

/// The parts of `spans` outside of `holes`; both are in order.
std::vector<TextSpan> without(const std::vector<TextSpan>& spans, const std::vector<TextSpan>& holes) {
  std::vector<TextSpan> result;
  for (TextSpan span : spans) {
    for (const TextSpan& hole : holes) {
      if (hole.end <= span.begin || hole.begin >= span.end) {
        continue;
      }
      if (hole.begin > span.begin) {
        result.push_back({span.begin, hole.begin});
      }
      span.begin = std::min(hole.end, span.end);
    }
    if (span.begin < span.end) {
      result.push_back(span);
    }
  }
  return result;
}

/// The turns that are excluded. If the template has exactly one mark per turn, that mark is the turn.
std::vector<TextSpan> excluded_turns(const Turns& turns, const tokenizer::RenderedChat& rendered, const std::vector<bool>& excluded) {
  const bool has_marks = rendered.assistant.size() == turns.assistants().size();
  std::vector<TextSpan> spans;
  for (size_t i = 0; i < turns.assistants().size(); ++i) {
    const size_t index = turns.assistants()[i];
    if (index < excluded.size() && excluded[index]) {
      spans.push_back(has_marks ? rendered.assistant[i] : turns.span(index));
    }
  }
  return spans;
}

}  // namespace

std::vector<TextSpan> all_but_excluded(const tokenizer::ChatTemplate& chat_template, const tokenizer::Conversation& conversation,
                                       const tokenizer::RenderedChat& rendered, const std::vector<bool>& excluded,
                                       const std::string& where) {
  const Turns turns(chat_template, conversation, rendered.text, where);
  return without({{0, rendered.text.size()}}, excluded_turns(turns, rendered, excluded));
}

std::vector<TextSpan> assistant_turns(const tokenizer::ChatTemplate& chat_template, const tokenizer::Conversation& conversation,
                                      const tokenizer::RenderedChat& rendered, bool last_only, const std::vector<bool>& excluded,
                                      const std::string& where) {
  const Turns turns(chat_template, conversation, rendered.text, where);
  if (turns.assistants().empty()) {
    return {};
  }
  if (chat_template.marks_assistant(conversation)) {
    const bool takes_all = !last_only || rendered.assistant.empty();
    return without(takes_all ? rendered.assistant : last_marks(turns, rendered), excluded_turns(turns, rendered, excluded));
  }
  std::vector<TextSpan> spans;
  for (const size_t index : turns.assistants()) {
    const bool is_supervised = index >= excluded.size() || !excluded[index];
    if (is_supervised && (!last_only || index == turns.assistants().back())) {
      spans.push_back(turns.span(index));
    }
  }
  return spans;
}

}  // namespace lora::data

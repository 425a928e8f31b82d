#include "chat.h"

#include <unistd.h>

#include "line_input.h"
#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/terminal.h"
#include "lora/base/text.h"
#include "lora/data/chat.h"
#include "lora/data/prompts.h"

namespace lora::app {

namespace {

constexpr const char* kNoAdapter = "none";
constexpr const char* kHelp =
    "/adapter NAME  switch to an adapter (none: the bare model); without NAME: list them\n"
    "/system TEXT   begin anew with these instructions (chat templates only); without TEXT: with none\n"
    "/reset         forget the conversation, not its system text\n"
    "/help          show this\n"
    "/quit          end (so does the end of the input)";

/// A conversation on its way; what puts its turns together.
class Conversation {
 public:
  virtual ~Conversation() = default;
  /// The ids up to where the answer to the last turn begins. Throws data Error for a turn that cannot be.
  virtual std::vector<int32_t> prompt(const std::string& text) = 0;
  virtual void answer(const std::string& text) = 0;
  /// The turn that prompt() began was none.
  virtual void drop_turn() = 0;
  virtual void reset() = 0;
  /// Whether there can be one.
  virtual bool set_system(const std::string& text) = 0;
  virtual std::vector<std::string> stop() const { return {}; }
};

/// By the model's chat template.
class TemplateConversation : public Conversation {
 public:
  explicit TemplateConversation(Generation& generation) : generation_(generation), encoder_(*generation.chat_encoder()) {
    if (const auto end = encoder_.turn_end()) {
      generation_.end_at(*end);
    }
  }

  std::vector<int32_t> prompt(const std::string& text) override {
    messages_.push_back({{"role", "user"}, {"content", text}});
    std::vector<int32_t> ids = encoder_.prompt({messages_, Json()}, "--chat").ids;
    data::check_prompt(ids, generation_.tokenizer(), generation_.model().vocab_size(), "--chat");
    return ids;
  }
  void answer(const std::string& text) override { messages_.push_back({{"role", "assistant"}, {"content", text}}); }
  void drop_turn() override { messages_.erase(messages_.size() - 1); }
  void reset() override { messages_ = system_.is_null() ? Json::array() : Json::array({system_}); }
  bool set_system(const std::string& text) override {
    system_ = text.empty() ? Json() : Json{{"role", "system"}, {"content", text}};
    reset();
    return true;
  }

 private:
  Generation& generation_;
  const data::ChatEncoder& encoder_;
  Json system_;
  Json messages_ = Json::array();
};

/// As instruction rows are put together, for models without a template.
class InstructionConversation : public Conversation {
 public:
  explicit InstructionConversation(Generation& generation) : generation_(generation) {}

  std::vector<int32_t> prompt(const std::string& text) override {
    turns_.push_back({text, ""});
    return data::encode_prompt(data::conversation_prompt(turns_), generation_.text_rule(), generation_.model().vocab_size(), "--chat");
  }
  void answer(const std::string& text) override { turns_.back().reply = text; }
  void drop_turn() override { turns_.pop_back(); }
  void reset() override { turns_.clear(); }
  bool set_system(const std::string&) override { return false; }
  std::vector<std::string> stop() const override { return {trim(data::kNextInstruction)}; }

 private:
  Generation& generation_;
  std::vector<data::Turn> turns_;
};

class Chat {
 public:
  explicit Chat(Generation& generation) : generation_(generation), adapter_(generation.default_adapter()) {
    if (generation.chat_encoder() != nullptr) {
      conversation_ = std::make_unique<TemplateConversation>(generation);
    } else {
      conversation_ = std::make_unique<InstructionConversation>(generation);
    }
  }

  /// Whether the chat goes on after the line.
  bool take(const std::string& line) {
    const std::string text = trim(line);
    if (text == "/quit") {
      return false;
    }
    if (text.starts_with('/')) {
      obey(text);
    } else if (!text.empty()) {
      answer(text);
    }
    return true;
  }

 private:
  void obey(const std::string& command) {
    if (command == "/help") {
      log::info(kHelp);
    } else if (command == "/reset") {
      conversation_->reset();
      num_answers_ = 0;
    } else if (command == "/adapter") {
      list_adapters();
    } else if (command.starts_with("/adapter ")) {
      switch_adapter(trim(command.substr(9)));
    } else if (command == "/system" || command.starts_with("/system ")) {
      set_system(trim(command.substr(7)));
    } else {
      log::warn("unknown command: found '" + printable(command) + "', expected /adapter, /system, /reset, /help or /quit");
    }
  }

  void set_system(const std::string& text) {
    num_answers_ = 0;
    if (!conversation_->set_system(text)) {
      log::warn("/system: the model has no chat template. Name one by --chat-template");
    }
  }

  void list_adapters() const {
    const std::vector<std::string> names = generation_.adapter_names();
    log::info("adapters: " + (names.empty() ? "(none)" : join(names)) + "; in use: " + (adapter_.empty() ? kNoAdapter : adapter_));
  }

  void switch_adapter(const std::string& name) {
    if (generation_.has_adapter(name)) {
      adapter_ = name;
    } else if (name == kNoAdapter) {
      adapter_.clear();
    } else {
      std::vector<std::string> known = generation_.adapter_names();
      known.emplace_back(kNoAdapter);
      log::warn("unknown adapter: found '" + printable(name) + "', expected one of " + join(known) + did_you_mean(name, known));
    }
  }

  void answer(const std::string& text) {
    if (const size_t invalid = invalid_utf8_at(text); invalid != std::string::npos) {
      log::warn("the line is not valid UTF-8 at byte " + std::to_string(invalid) + " and is left out");
      return;
    }
    std::vector<int32_t> ids;
    try {
      ids = conversation_->prompt(text);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kData) {
        throw;
      }
      conversation_->drop_turn();
      log::warn(error.what());
      return;
    }
    std::string reply;
    const auto on_text = [&reply](size_t, const std::string& piece) {
      reply += piece;
      terminal::print_generated(piece);
    };
    generation_.complete({{std::move(ids), num_answers_++}}, adapter_, conversation_->stop(), on_text,
                         [](size_t, const generate::Completion&) {});
    terminal::print_generated("\n");
    conversation_->answer(trim(reply));
  }

  Generation& generation_;
  std::string adapter_;
  std::unique_ptr<Conversation> conversation_;
  int64_t num_answers_ = 0;
};

}  // namespace

void chat(Generation& generation) {
  const bool at_terminal = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;
  LineInput input;
  Chat session(generation);
  while (true) {
    if (at_terminal) {
      terminal::print("> ");
    }
    const std::optional<std::string> line = input.next();
    if (!line || !session.take(*line)) {
      return;
    }
  }
}

}  // namespace lora::app

#include "chat.h"

#include <unistd.h>

#include <iostream>

#include "line_input.h"
#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/data/prompts.h"

namespace lora::app {

namespace {

constexpr const char* kNoAdapter = "none";
constexpr const char* kHelp =
    "/adapter NAME  switch to an adapter (none: the bare model); without NAME: list them\n"
    "/reset         forget the conversation\n"
    "/help          show this\n"
    "/quit          end (so does the end of the input)";

class Chat {
 public:
  explicit Chat(Generation& generation) : generation_(generation), adapter_(generation.default_adapter()) {}

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
      turns_.clear();
    } else if (command == "/adapter") {
      list_adapters();
    } else if (command.starts_with("/adapter ")) {
      switch_adapter(trim(command.substr(9)));
    } else {
      log::warn("unknown command: found '" + printable(command) + "', expected /adapter, /reset, /help or /quit");
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
    turns_.push_back({text, ""});
    const std::string prompt = data::conversation_prompt(turns_);
    std::vector<int32_t> ids = data::encode_prompt(prompt, generation_.tokenizer(), generation_.model().vocab_size(), "--chat");
    std::string& reply = turns_.back().reply;
    const auto on_text = [&reply](size_t, const std::string& piece) {
      reply += piece;
      std::cout << piece << std::flush;
    };
    generation_.complete({{std::move(ids), static_cast<int64_t>(turns_.size()) - 1}}, adapter_, {trim(data::kNextInstruction)}, on_text,
                         [](size_t, const generate::Completion&) {});
    std::cout << std::endl;
    reply = trim(reply);
  }

  Generation& generation_;
  std::string adapter_;
  std::vector<data::Turn> turns_;
};

}  // namespace

void chat(Generation& generation) {
  const bool at_terminal = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;
  LineInput input;
  Chat session(generation);
  while (true) {
    if (at_terminal) {
      std::cout << "> " << std::flush;
    }
    const std::optional<std::string> line = input.next();
    if (!line || !session.take(*line)) {
      return;
    }
  }
}

}  // namespace lora::app

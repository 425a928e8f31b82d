#include "app/chat.h"

#include <unistd.h>

#include "app/line_input.h"
#include "app/talk.h"
#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/base/terminal.h"
#include "lora/base/text.h"

namespace lora::app {

namespace {

constexpr const char* kNoAdapter = "none";
constexpr const char* kHelp =
    "/adapter NAME  switch to an adapter, or to none for the base model; without NAME, list the adapters\n"
    "/system TEXT   start again with this system message (needs a chat template); without TEXT, with none\n"
    "/reset         start again with the same system message\n"
    "/help          show this help\n"
    "/quit          end the chat, as does the end of the input";

class Chat {
 public:
  Chat(Generation& generation, const std::string& system)
      : generation_(generation), adapter_(generation.default_adapter()), talk_(generation, "--chat") {
    talk_.set_system(system);
  }

  /// Handles one line of input. Returns false if the chat ends.
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
      talk_.reset();
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
    if (generation_.chat_encoder(adapter_) == nullptr && !text.empty()) {
      log::warn("[/system] the model has no chat template. Choose one with --chat-template.");
      return;
    }
    num_answers_ = 0;
    talk_.set_system(text);
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
    try {
      complete(talk_.ask(text, adapter_, num_answers_));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kData) {
        throw;
      }
      log::warn(error.what());
    }
  }

  /// Streams the answer. Ctrl-C ends it, and the conversation continues with what was written so far.
  void complete(const generate::Prompt& prompt) {
    ++num_answers_;
    std::string reply;
    const auto on_text = [&reply](size_t, const std::string& piece) {
      reply += piece;
      terminal::print_generated(piece);
    };
    try {
      generation_.complete({prompt}, adapter_, talk_stops(generation_, adapter_), on_text, [](size_t, const generate::Completion&) {});
    } catch (const Interrupted&) {
      if (!forget_interrupt()) {
        throw;
      }
    }
    terminal::print_generated("\n");
    talk_.answer(trim(reply));
  }

  Generation& generation_;
  std::string adapter_;
  Talk talk_;
  int64_t num_answers_ = 0;
};

}  // namespace

void chat(Generation& generation, const std::string& system) {
  const bool at_terminal = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;
  LineInput input;
  Chat session(generation, system);
  while (true) {
    if (at_terminal) {
      terminal::print("> ");
    }
    std::optional<std::string> line;
    try {
      line = input.next();
    } catch (const Interrupted&) {
      if (at_terminal) {
        terminal::print("\n");  // so that the shell's prompt starts on a new line
      }
      throw;
    }
    if (!line || !session.take(*line)) {
      return;
    }
  }
}

}  // namespace lora::app

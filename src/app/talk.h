#pragma once
#include <string>
#include <vector>

#include "app/generation.h"

namespace lora::app {

/// Stop texts that end an adapter's answers in addition to EOS tokens: without a chat template, the beginning of the next instruction.
std::vector<std::string> talk_stops(Generation& generation, const std::string& adapter);

/// A conversation with the model. Prompts use the chat template of the adapter that answers, or the layout of instruction rows if there is
/// none.
class Talk {
 public:
  /// `where` names the conversation in errors.
  Talk(Generation& generation, std::string where) : generation_(generation), where_(std::move(where)) {}

  /// Adds a user's turn and returns the prompt for the adapter's answer. Throws data Error for an invalid turn, which is then not added.
  generate::Prompt ask(const std::string& text, const std::string& adapter, int64_t index);
  void answer(const std::string& text) { messages_.push_back({{"role", "assistant"}, {"content", text}}); }
  /// Clears the conversation except for the system message.
  void reset() { messages_ = Json::array(); }
  /// Starts again with that system message; empty: without one.
  void set_system(const std::string& text);
  /// All messages, the system message first.
  Json messages() const;

 private:
  std::vector<int32_t> ids(const std::string& adapter) const;

  Generation& generation_;
  std::string where_;
  std::string system_;
  Json messages_ = Json::array();
};

}  // namespace lora::app

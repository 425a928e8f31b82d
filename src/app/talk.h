#pragma once
#include <string>
#include <vector>

#include "generation.h"

namespace lora::app {

/// Texts that end an adapter's answers beside its EOS tokens: where there is no chat template, the next instruction.
std::vector<std::string> talk_stops(Generation& generation, const std::string& adapter);

/// A conversation with the model on its way: by the chat template of the adapter that answers, where there is none as instruction rows
/// are put together.
class Talk {
 public:
  /// `where` names it in errors.
  Talk(Generation& generation, std::string where) : generation_(generation), where_(std::move(where)) {}

  /// A user's turn: the prompt up to where the adapter's answer begins. Throws data Error for a turn that cannot be, and then has
  /// forgotten it.
  generate::Prompt ask(const std::string& text, const std::string& adapter, int64_t index);
  void answer(const std::string& text) { messages_.push_back({{"role", "assistant"}, {"content", text}}); }
  /// Forgets all but the system's text.
  void reset() { messages_ = Json::array(); }
  /// Begins anew with that text; empty: without one.
  void set_system(const std::string& text);
  /// All that was said, the system's text first.
  Json messages() const;

 private:
  std::vector<int32_t> ids(const std::string& adapter) const;

  Generation& generation_;
  std::string where_;
  std::string system_;
  Json messages_ = Json::array();
};

}  // namespace lora::app

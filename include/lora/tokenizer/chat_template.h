#pragma once
#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/tokenizer/tokenizer.h"

namespace lora::tokenizer {

/// What is said, and the tools that the assistant may call.
struct Conversation {
  Json messages;         ///< an array of objects with "role" and mostly "content"
  Json tools;            ///< an array of JSON schemas; null: none
  Json kwargs = Json();  ///< further variables of the template, an object; null: none
};

/// A conversation as the text that a model is given.
struct RenderedChat {
  std::string text;
  std::vector<TextSpan> assistant;  ///< what {% generation %} marks, in bytes, in order
};

/// A model's Jinja template of conversations. Goals: text equal to transformers' apply_chat_template; a template, which comes from
/// strangers, can do nothing but write text, within limits of time and memory. Non-goals: inheritance, macros of other files.
/// Any number of threads may render with one at once.
class ChatTemplate {
 public:
  /// What templates see beside the conversation: bos_token, eos_token, … Those that there are not are undefined.
  using Tokens = std::map<std::string, std::string>;

  /// `name` stands for the template in errors. `tool_source`: used in place of `source` for conversations with tools, where it is
  /// not empty. `now`: the time of strftime_now; none: that of this moment, so that one run has one date. Throws model Error for
  /// what is no template.
  ChatTemplate(std::string name, const std::string& source, Tokens tokens, const std::string& tool_source = "",
               std::optional<std::chrono::local_seconds> now = std::nullopt);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;

  /// `where` names the conversation. Throws data Error naming it for one that the template refuses, or that is no conversation,
  /// model Error naming the template for what is wrong in it.
  RenderedChat render(const Conversation& conversation, bool add_generation_prompt, const std::string& where) const;

  /// Whether its source has this text as a string of its own, as it has the roles that it tells apart.
  bool names(const std::string& text) const;
  /// Whether it marks what the assistant says.
  bool marks_assistant(const Conversation& conversation) const;
  const std::string& name() const { return name_; }
  /// Changes with all that texts depend on.
  std::string identity() const;

 private:
  struct Parts;

  std::string name_;
  std::unique_ptr<Parts> parts_;
};

/// The names of the templates that need no model's: chatml, llama3, …
std::vector<std::string> builtin_chat_templates();

/// The template that `choice` means: a built-in name, or the path of a .jinja file; empty: the model's own, of the files beside
/// `tokenizer_path` (chat_template.jinja, else "chat_template" of tokenizer_config.json), null where it has none. Throws config
/// Error for a name or path that means nothing, model Error for a damaged file.
std::unique_ptr<ChatTemplate> load_chat_template(const std::string& choice, const std::filesystem::path& tokenizer_path,
                                                 const Tokenizer& tokenizer);

}  // namespace lora::tokenizer

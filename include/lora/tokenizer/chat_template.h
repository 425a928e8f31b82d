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

/// The sources of a model's templates.
struct TemplateTexts {
  std::string usual;
  std::string with_tools = {};  ///< in place of `usual` for conversations with tools; empty: there is none

  bool operator==(const TemplateTexts&) const = default;
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
  const TemplateTexts& texts() const;
  /// Changes with all that texts depend on.
  std::string identity() const;

 private:
  struct Parts;

  std::string name_;
  std::unique_ptr<Parts> parts_;
};

/// The names of the templates that need no model's: chatml, llama3, …
std::vector<std::string> builtin_chat_templates();

/// Every name that is no path: the built-in ones, kModelTemplate and kNoTemplate.
std::vector<std::string> chat_template_names();
inline constexpr const char* kModelTemplate = "model";  ///< the model's own, even where an adapter has another
inline constexpr const char* kNoTemplate = "none";      ///< none, even where the model or an adapter has one

/// What a template may be named by, for messages and help: the names, a .jinja file, a folder.
std::string known_chat_templates();

/// Which template is wanted.
struct ChatTemplateChoice {
  /// One of chat_template_names(), or the path of a .jinja file or of a folder that holds a template; empty: that of `adapter`, where it
  /// has none the model's own.
  std::string name;
  std::filesystem::path adapter = {};        ///< an adapter's folder; empty: there is none
  std::string where = "data.chat_template";  ///< the key or flag, in errors

  /// Whether it asks for a template other than the model's own by default.
  bool is_given() const;
};

/// The template that is chosen; null for kNoTemplate, and where nothing is named and there is none. The model's own is that of the
/// files beside `tokenizer_path`. Throws Error: config for a name that means nothing, model for a damaged file.
std::unique_ptr<ChatTemplate> load_chat_template(const ChatTemplateChoice& choice, const std::filesystem::path& tokenizer_path,
                                                 const Tokenizer& tokenizer);

/// The templates in a folder as transformers keeps them: chat_template.jinja (with additional_chat_templates/tool_use.jinja), else
/// "chat_template" of tokenizer_config.json; nothing where there is none. Throws model Error for damaged files.
std::optional<TemplateTexts> read_template_texts(const std::filesystem::path& folder);

/// Writes them so that read_template_texts and transformers find them. A tokenizer_config.json that is there gets them too, for
/// readers that know that file alone.
void write_template_texts(const std::filesystem::path& folder, const TemplateTexts& texts);

}  // namespace lora::tokenizer

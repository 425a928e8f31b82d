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

/// The messages of a conversation, and the tools that the assistant may call.
struct Conversation {
  Json messages;         ///< an array of objects with "role" and usually "content"
  Json tools;            ///< an array of JSON schemas; null: none
  Json kwargs = Json();  ///< additional variables of the template, an object; null: none
};

/// A conversation rendered as the text that the model receives.
struct RenderedChat {
  std::string text;
  std::vector<TextSpan> assistant;  ///< the spans marked by {% generation %}, in bytes, in order
};

/// The sources of a model's templates.
struct TemplateTexts {
  std::string usual;
  std::string with_tools = {};  ///< replaces `usual` for conversations with tools; empty: no such template

  bool operator==(const TemplateTexts&) const = default;
};

/// A Jinja chat template. Goals: text equal to that of transformers' apply_chat_template; a template may come from an untrusted source, so
/// it can only write text, within limits on time and memory. Non-goals: inheritance, macros from other files.
/// Several threads may render with one object at the same time.
class ChatTemplate {
 public:
  /// Variables of templates besides the conversation: bos_token, eos_token, … A missing one is undefined.
  using Tokens = std::map<std::string, std::string>;

  /// `name`: the name of the template in errors. `tool_source`: unless empty, replaces `source` for conversations with tools.
  /// `now`: the time that strftime_now uses; by default the time of construction, so that a run uses a single date. Throws model Error
  /// for an invalid template.
  ChatTemplate(std::string name, const std::string& source, Tokens tokens, const std::string& tool_source = "",
               std::optional<std::chrono::local_seconds> now = std::nullopt);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;

  /// `where`: the name of the conversation in errors. Throws data Error naming the conversation if it is invalid or the template rejects
  /// it, and model Error naming the template for a fault of the template.
  RenderedChat render(const Conversation& conversation, bool add_generation_prompt, const std::string& where) const;

  /// Whether the source contains this text as a string literal, as it contains the roles that it distinguishes.
  bool names(const std::string& text) const;
  /// Whether the template marks the assistant's text ({% generation %}).
  bool marks_assistant(const Conversation& conversation) const;
  const std::string& name() const { return name_; }
  const TemplateTexts& texts() const;
  /// A hash of everything that the rendered texts depend on.
  std::string identity() const;

 private:
  struct Parts;

  std::string name_;
  std::unique_ptr<Parts> parts_;
};

/// The names of the built-in templates: chatml, llama3, …
std::vector<std::string> builtin_chat_templates();

/// Every name that is not a path: the built-in templates, kModelTemplate and kNoTemplate.
std::vector<std::string> chat_template_names();
inline constexpr const char* kModelTemplate = "model";  ///< the model's own template, even if an adapter has another one
inline constexpr const char* kNoTemplate = "none";      ///< no template, even if the model or an adapter has one

/// The valid values of a template option, for messages and help: the names, a .jinja file, a folder.
std::string known_chat_templates();

/// The requested template.
struct ChatTemplateChoice {
  /// One of chat_template_names(), or the path of a .jinja file or of a folder with a template. Empty: the template of `adapter`, or the
  /// model's own if the adapter has none.
  std::string name;
  std::filesystem::path adapter = {};        ///< an adapter's folder; empty: no adapter
  std::string where = "data.chat_template";  ///< the key or flag, in errors

  /// Whether a template other than the model's own is requested.
  bool is_given() const;
};

/// The chosen template; null for kNoTemplate, and if none is named and there is none. The model's own template is read from the files in
/// the folder of `tokenizer_path`. Throws config Error for an unknown name, and model Error for a damaged file.
std::unique_ptr<ChatTemplate> load_chat_template(const ChatTemplateChoice& choice, const std::filesystem::path& tokenizer_path,
                                                 const Tokenizer& tokenizer);

/// The templates in a folder, in the files of transformers: chat_template.jinja (with additional_chat_templates/tool_use.jinja), otherwise
/// "chat_template" of tokenizer_config.json; empty if there is none. Throws model Error for damaged files.
std::optional<TemplateTexts> read_template_texts(const std::filesystem::path& folder);

/// Writes the templates to where read_template_texts and transformers find them. An existing tokenizer_config.json gets them, too, for
/// readers that only know that file.
void write_template_texts(const std::filesystem::path& folder, const TemplateTexts& texts);

}  // namespace lora::tokenizer

#include "lora/base/bundle.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/text.h"
#include "lora/tokenizer/chat_template.h"
#include "tokenizer/builtin_templates.h"

namespace lora::tokenizer {
namespace {

Json read_if_there(const fs::path& file) {
  return is_file(file) ? read_json(file, ErrorKind::kModel) : Json::object();
}

constexpr const char* kUsualFile = "chat_template.jinja";
constexpr const char* kToolsFile = "additional_chat_templates/tool_use.jinja";

std::string read_template(const fs::path& file) {
  return is_file(file) ? read_file(file, ErrorKind::kModel) : "";
}

/// Several templates of one tokenizer_config.json: "default" and possibly others by name.
TemplateTexts named_texts(const Json& found, const std::string& where) {
  std::map<std::string, std::string> by_name;
  for (const Json& entry : found.is_array() ? found : Json::array({found})) {
    const JsonReader reader(entry, where, ErrorKind::kModel);
    by_name[reader.string("name")] = reader.string("template");
  }
  if (by_name.count("default") == 0) {
    std::vector<std::string> names;
    for (const auto& entry : by_name) {
      names.push_back(entry.first);
    }
    model_error(where, "found templates named " + join(names) +
                           ", expected one named default. Save the one to use as a file, and set data.chat_template to its path.");
  }
  return {by_name["default"], by_name["tool_use"]};
}

/// A folder's templates, and the file that they come from.
struct FoundTexts {
  std::string name;
  TemplateTexts texts;
};

std::optional<FoundTexts> find_texts(const fs::path& folder) {
  const fs::path file = folder / kUsualFile;
  if (is_file(file)) {
    return FoundTexts{file.string(), {read_template(file), read_template(folder / kToolsFile)}};
  }
  const Json config = read_if_there(folder / "tokenizer_config.json");
  const std::string where = (folder / "tokenizer_config.json").string() + ": chat_template";
  if (!config.is_object() || !config.contains("chat_template") || config["chat_template"].is_null()) {
    return std::nullopt;
  }
  const Json& found = config["chat_template"];
  return FoundTexts{where, found.is_string() ? TemplateTexts{found.get<std::string>()} : named_texts(found, where)};
}

std::unique_ptr<ChatTemplate> of_folder(const fs::path& folder, ChatTemplate::Tokens tokens) {
  std::optional<FoundTexts> found = find_texts(folder);
  return found ? std::make_unique<ChatTemplate>(found->name, found->texts.usual, std::move(tokens), found->texts.with_tools) : nullptr;
}

/// Built-in templates are for any model: they write a BOS if the tokenizer adds one by its own rules. This is written into the source, so
/// that it gives the same text in transformers.
std::string for_tokenizer(const std::string& source, const Tokenizer& tokenizer) {
  return (tokenizer.add_bos() ? "" : "{%- set bos_token = '' %}") + source;
}

[[noreturn]] void fail_unknown(const ChatTemplateChoice& choice) {
  config_error(choice.where, "found '" + printable(choice.name, 200) + "', expected " + known_chat_templates() +
                                 did_you_mean(fs::path(choice.name).filename().string(), chat_template_names()));
}

}  // namespace

std::vector<std::string> chat_template_names() {
  std::vector<std::string> names = builtin_chat_templates();
  names.insert(names.end(), {kModelTemplate, kNoTemplate});
  return names;
}

std::string known_chat_templates() {
  return join(builtin_chat_templates()) + ", " + kModelTemplate + " (the model's own), " + kNoTemplate +
         ", a .jinja file or a folder with one";
}

bool ChatTemplateChoice::is_given() const {
  return name.empty() ? !adapter.empty() && find_texts(adapter).has_value() : name != kNoTemplate;
}

std::unique_ptr<ChatTemplate> load_chat_template(const ChatTemplateChoice& choice, const fs::path& tokenizer_path,
                                                 const Tokenizer& tokenizer) {
  if (choice.name == kNoTemplate) {
    return nullptr;
  }
  const fs::path folder = is_folder(tokenizer_path) ? tokenizer_path : tokenizer_path.parent_path();
  ChatTemplate::Tokens tokens = tokenizer.named_tokens();
  if (choice.name.empty() && choice.is_given()) {
    return of_folder(choice.adapter, std::move(tokens));
  }
  if (choice.name.empty() || choice.name == kModelTemplate) {
    auto own = of_folder(folder, std::move(tokens));
    if (own == nullptr && !choice.name.empty()) {
      config_error(choice.where, std::string("found \"") + kModelTemplate + "\", but the model has no chat template of its own");
    }
    return own;
  }
  if (const std::string source = builtin_template(choice.name); !source.empty()) {
    return std::make_unique<ChatTemplate>("built-in template " + choice.name, for_tokenizer(source, tokenizer), std::move(tokens));
  }
  if (is_folder(choice.name)) {
    auto found = of_folder(choice.name, std::move(tokens));
    if (found == nullptr) {
      config_error(choice.where, "found the folder '" + printable(choice.name, 200) + "' without a chat template, expected " + kUsualFile +
                                     ", or a tokenizer_config.json with \"chat_template\", in it");
    }
    return found;
  }
  if (!is_file(choice.name)) {
    fail_unknown(choice);
  }
  return std::make_unique<ChatTemplate>(choice.name, read_template(choice.name), std::move(tokens));
}

std::optional<TemplateTexts> read_template_texts(const fs::path& folder) {
  std::optional<FoundTexts> found = find_texts(folder);
  return found ? std::optional(std::move(found->texts)) : std::nullopt;
}

void write_template_texts(const fs::path& folder, const TemplateTexts& texts) {
  write_file_atomically(folder / kUsualFile, texts.usual);
  if (!texts.with_tools.empty()) {
    fs::create_directories((folder / kToolsFile).parent_path());
    write_file_atomically(folder / kToolsFile, texts.with_tools);
  } else {
    fs::remove(folder / kToolsFile);
  }
  const fs::path file = folder / "tokenizer_config.json";
  if (!is_file(file)) {
    return;
  }
  Json config = read_json(file, ErrorKind::kModel);
  if (texts.with_tools.empty()) {
    config["chat_template"] = texts.usual;
  } else {
    config["chat_template"] =
        Json::array({Json{{"name", "default"}, {"template", texts.usual}}, Json{{"name", "tool_use"}, {"template", texts.with_tools}}});
  }
  write_file_atomically(file, config.dump(2) + "\n");
}

}  // namespace lora::tokenizer

#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/text.h"
#include "lora/tokenizer/chat_template.h"
#include "tokenizer/builtin_templates.h"

namespace lora::tokenizer {
namespace {

Json read_if_there(const fs::path& file) {
  return fs::is_regular_file(file) ? read_json(file, ErrorKind::kModel) : Json::object();
}

/// The templates of a model: "default" and perhaps others by name.
struct Sources {
  std::string name;
  std::map<std::string, std::string> by_name;
};

Sources sources_of(const fs::path& folder, const Json& config) {
  Sources sources{(folder / "chat_template.jinja").string(), {}};
  if (fs::is_regular_file(sources.name)) {
    sources.by_name["default"] = read_file(sources.name, ErrorKind::kModel);
    const fs::path tool_use = folder / "additional_chat_templates/tool_use.jinja";
    if (fs::is_regular_file(tool_use)) {
      sources.by_name["tool_use"] = read_file(tool_use, ErrorKind::kModel);
    }
    return sources;
  }
  sources.name = (folder / "tokenizer_config.json").string() + ": chat_template";
  if (!config.contains("chat_template") || config["chat_template"].is_null()) {
    return sources;
  }
  const Json& found = config["chat_template"];
  if (found.is_string()) {
    sources.by_name["default"] = found.get<std::string>();
    return sources;
  }
  for (const Json& entry : found.is_array() ? found : Json::array({found})) {
    const JsonReader reader(entry, sources.name, ErrorKind::kModel);
    sources.by_name[reader.string("name")] = reader.string("template");
  }
  return sources;
}

std::unique_ptr<ChatTemplate> of_model(const fs::path& folder, const Json& config, ChatTemplate::Tokens tokens) {
  const Sources sources = sources_of(folder, config);
  if (sources.by_name.empty()) {
    return nullptr;
  }
  const auto usual = sources.by_name.find("default");
  if (usual == sources.by_name.end()) {
    std::vector<std::string> names;
    for (const auto& entry : sources.by_name) {
      names.push_back(entry.first);
    }
    model_error(sources.name, "found templates named " + join(names) +
                                  ", expected one named default. Write the one to use into a file, "
                                  "and name it as data.chat_template");
  }
  const auto tool_use = sources.by_name.find("tool_use");
  return std::make_unique<ChatTemplate>(sources.name, usual->second, std::move(tokens),
                                        tool_use != sources.by_name.end() ? tool_use->second : "");
}

}  // namespace

std::unique_ptr<ChatTemplate> load_chat_template(const std::string& choice, const fs::path& tokenizer_path, const Tokenizer& tokenizer) {
  const fs::path folder = fs::is_directory(tokenizer_path) ? tokenizer_path : tokenizer_path.parent_path();
  const Json config = read_if_there(folder / "tokenizer_config.json");
  ChatTemplate::Tokens tokens = tokenizer.named_tokens();
  if (choice.empty()) {
    return of_model(folder, config, std::move(tokens));
  }
  if (const std::string source = builtin_template(choice); !source.empty()) {
    // These are for any model: they write a BOS where the tokenizer's own rules put one.
    if (!tokenizer.add_bos()) {
      tokens.erase("bos_token");
    }
    return std::make_unique<ChatTemplate>("built-in template " + choice, source, std::move(tokens));
  }
  if (!fs::is_regular_file(choice)) {
    config_error("data.chat_template", "found '" + printable(choice, 200) + "', expected the path of a template's file, or one of " +
                                           join(builtin_chat_templates()) + did_you_mean(choice, builtin_chat_templates()));
  }
  return std::make_unique<ChatTemplate>(choice, read_file(choice, ErrorKind::kModel), std::move(tokens));
}

}  // namespace lora::tokenizer

#include "data/conversation.h"

#include <algorithm>
#include <array>
#include <optional>

#include "lora/base/error.h"
#include "lora/base/python_json.h"
#include "lora/base/text.h"

namespace lora::data {
namespace {

constexpr const char* kSystem = "system";
constexpr const char* kUser = "user";
constexpr const char* kAssistant = "assistant";
constexpr const char* kTool = "tool";

struct RoleName {
  const char* name;
  const char* role;
};

/// What ShareGPT's rows, LLaMA-Factory, Axolotl, ms-swift and OpenAI's older format call the roles.
constexpr std::array<RoleName, 18> kRoleNames{{{"human", kUser},
                                               {"gpt", kAssistant},
                                               {"chatgpt", kAssistant},
                                               {"bing", kAssistant},
                                               {"bard", kAssistant},
                                               {"bot", kAssistant},
                                               {"model", kAssistant},
                                               {"function_call", kAssistant},
                                               {"tool_call", kAssistant},
                                               {"observation", kTool},
                                               {"function", kTool},
                                               {"ipython", kTool},
                                               {"tool_response", kTool},
                                               {"function_response", kTool},
                                               {kSystem, kSystem},
                                               {kUser, kUser},
                                               {kAssistant, kAssistant},
                                               {kTool, kTool}}};

/// Keys by which other tools say whether a message is learnt: OpenAI and Mistral weight; Axolotl train, training; LLaMA-Factory and
/// others trainable; ms-swift loss.
constexpr std::array<const char*, 5> kLearnKeys{"weight", "train", "training", "trainable", "loss"};
/// Keys by which parts of a message are learnt, which we cannot do.
constexpr std::array<const char*, 3> kPartKeys{"training_detail", "train_detail", "loss_scale"};

/// What apply_chat_template itself does with an argument, so that it is no variable of the template.
constexpr std::array<const char*, 15> kNoVariables{"conversation",
                                                   "messages",
                                                   "chat_template",
                                                   "add_generation_prompt",
                                                   "continue_final_message",
                                                   "tokenize",
                                                   "padding",
                                                   "truncation",
                                                   "max_length",
                                                   "return_tensors",
                                                   "return_dict",
                                                   "return_assistant_tokens_mask",
                                                   "tokenizer_kwargs",
                                                   "sanitize_control_tokens",
                                                   "processor_kwargs"};

std::string place_of(size_t index) {
  return "messages[" + std::to_string(index) + "]";
}

/// A JSON value that may be given as text, as columns of one type hold it.
Json parsed(const Json& value, const std::string& where) {
  return value.is_string() && !trim(value.get_ref<const std::string&>()).empty()
             ? parse_python_json(value.get_ref<const std::string&>(), where, ErrorKind::kData)
         : value.is_string() ? Json()
                             : value;
}

class ConversationReader {
 public:
  ConversationReader(const Fields& fields, const tokenizer::ChatTemplate& chat_template) : fields_(fields), template_(chat_template) {}

  ChatRow read() {
    ChatRow row;
    const Json messages = fields_.json(fields_.has("messages") || !fields_.has("conversations") ? "messages" : "conversations");
    row.conversation.messages = messages;
    row.conversation.tools = tools();
    row.conversation.kwargs = kwargs(row.conversation.tools);
    if (!messages.is_array()) {
      return row;  // which rendering refuses
    }
    row.conversation.messages = Json::array();
    for (size_t i = 0; i < messages.size(); ++i) {
      row.conversation.messages.push_back(message(messages[i], i));
      row.unlearnt.push_back(is_unlearnt(row.conversation.messages.back(), i));
    }
    add_system(row);
    return row;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { data_error(fields_.origin(), what); }

  Json message(const Json& own, size_t index) const {
    if (!own.is_object()) {
      return own;
    }
    Json result = Json::object();
    for (const auto& [key, value] : own.items()) {
      const bool is_role = key == "from" && !own.contains("role");
      const bool is_content = key == "value" && !own.contains("content");
      result[is_role ? "role" : is_content ? "content" : key] = value;
    }
    if (result.contains("role") && result["role"].is_string()) {
      name_role(result, index);
    }
    return result;
  }

  void name_role(Json& message, size_t index) const {
    const std::string name = message["role"].get<std::string>();
    const auto known = std::find_if(kRoleNames.begin(), kRoleNames.end(), [&](const RoleName& entry) { return name == entry.name; });
    const bool is_known = known != kRoleNames.end();
    // A template's own name of the assistant ("model") is only what it writes, while its own names of tools are what it reads.
    if (name == "developer" || (template_.names(name) && (!is_known || known->role == kTool || !template_.names(known->role)))) {
      return;
    }
    if (!is_known) {
      fail(place_of(index) + ": the role is unknown: found \"" + printable(name) +
           "\", expected system, developer, user, assistant or tool, one of ShareGPT's names (human, gpt, …), or a role that the chat "
           "template " +
           template_.name() + " names.");
    }
    message["role"] = known->role;
    if (name == "function_call" || name == "tool_call") {
      move_calls(message, message["content"], index);
      message["content"] = "";
    }
    if (message.contains("function_call") && !message["function_call"].is_null() && !template_.names("function_call")) {
      move_calls(message, message["function_call"], index);
      message.erase("function_call");
    }
  }

  /// Makes tool_calls of a call {"name", "arguments"}, or of several.
  void move_calls(Json& message, const Json& value, size_t index) const {
    const std::string where = fields_.origin() + ": " + place_of(index);
    Json calls = parsed(value, where);
    calls = calls.is_array() ? calls : Json::array({calls});
    Json result = Json::array();
    for (Json& call : calls) {
      if (!call.is_object() || !call.contains("name") || !call["name"].is_string()) {
        fail(place_of(index) + ": found " + shown(value) + ", expected a call {\"name\": …, \"arguments\": {…}} or an array of calls.");
      }
      const Json arguments = call.contains("arguments") ? call["arguments"] : call.value("parameters", Json::object());
      result.push_back({{"type", "function"}, {"function", {{"name", call["name"]}, {"arguments", parsed(arguments, where)}}}});
    }
    message["tool_calls"] = std::move(result);
  }

  bool is_unlearnt(const Json& message, size_t index) const {
    bool unlearnt = false;
    if (!message.is_object()) {
      return false;
    }
    for (const char* key : kPartKeys) {
      if (message.contains(key) && !message[key].is_null()) {
        fail(place_of(index) + "." + key + ": parts of a turn cannot be chosen. Use \"train\": false to leave a whole turn out.");
      }
    }
    for (const char* key : kLearnKeys) {
      const auto value = message.find(key);
      if (value == message.end() || value->is_null()) {
        continue;
      }
      const bool no = *value == false || *value == 0;
      if (!no && *value != true && *value != 1) {
        fail(place_of(index) + "." + key + ": found " + shown(*value) + ", expected 0 or 1 (false or true): a turn is learnt or not.");
      }
      if (!no && message.value("role", Json()) != kAssistant) {
        fail(place_of(index) + "." + key + ": found " + shown(*value) + " on a turn of the role " + shown(message.value("role", Json())) +
             ", expected 0: only the assistant's turns are learnt.");
      }
      unlearnt = unlearnt || no;
    }
    return unlearnt;
  }

  /// A "system" beside the messages is their first, unless they have one.
  void add_system(ChatRow& row) const {
    if (!fields_.has("system") || fields_.text("system").empty()) {
      return;
    }
    Json& messages = row.conversation.messages;
    if (!messages.empty() && messages[0].is_object() && messages[0].value("role", Json()) == kSystem) {
      fields_.fail("system", "found beside a system message, expected one of the two.");
    }
    messages.insert(messages.begin(), Json{{"role", kSystem}, {"content", fields_.text("system")}});
    row.unlearnt.insert(row.unlearnt.begin(), false);
  }

  Json tools() const {
    const bool is_old = !fields_.has("tools") && fields_.has("functions");
    const char* field = is_old ? "functions" : "tools";
    if (!fields_.has(field)) {
      return Json();
    }
    const std::string where = fields_.origin() + ", column " + fields_.column(field);
    Json tools = parsed(fields_.value(field), where);
    Json none = Json::array();
    for (Json& tool : tools.is_array() ? tools : none) {
      tool = parsed(tool, where);
      tool = is_old ? Json{{"type", "function"}, {"function", tool}} : tool;
    }
    return tools;
  }

  /// Variables of the template; "tools" among them takes the place of the row's.
  Json kwargs(Json& tools) const {
    if (!fields_.has("chat_template_kwargs")) {
      return Json();
    }
    Json kwargs = fields_.json("chat_template_kwargs");
    if (!kwargs.is_object()) {
      fields_.fail("chat_template_kwargs", "found " + type_name(kwargs) + ", expected an object of the template's variables.");
    }
    for (const char* name : kNoVariables) {
      if (kwargs.contains(name)) {
        fields_.fail("chat_template_kwargs", "found \"" + std::string(name) + "\", which is no variable of a template.");
      }
    }
    if (kwargs.contains("tools")) {
      tools = kwargs["tools"];
      kwargs.erase("tools");
    }
    return kwargs;
  }

  const Fields& fields_;
  const tokenizer::ChatTemplate& template_;
};

}  // namespace

bool has_conversation(const Fields& fields) {
  return fields.has("messages") || fields.has("conversations");
}

ChatRow read_conversation(const Fields& fields, const tokenizer::ChatTemplate& chat_template) {
  return ConversationReader(fields, chat_template).read();
}

}  // namespace lora::data

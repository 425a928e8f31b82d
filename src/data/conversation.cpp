#include "data/conversation.h"

#include <algorithm>
#include <array>
#include <optional>

#include "lora/base/error.h"
#include "lora/base/found_text.h"
#include "lora/base/python_json.h"
#include "lora/base/text.h"
#include "lora/data/prompts.h"

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

/// The names of roles in ShareGPT rows, LLaMA-Factory, Axolotl, ms-swift and OpenAI's older format.
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

/// Keys of other tools for whether a message is supervised: weight (OpenAI, Mistral), train and training (Axolotl), trainable
/// (LLaMA-Factory and others), loss (ms-swift).
constexpr std::array<const char*, 5> kLearnKeys{"weight", "train", "training", "trainable", "loss"};
/// Keys for supervision of parts of a message, which is not supported.
constexpr std::array<const char*, 3> kPartKeys{"training_detail", "train_detail", "loss_scale"};

/// The arguments of apply_chat_template itself, which are not variables of the template.
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

std::string place_of(const std::string& list, size_t index) {
  return list + "[" + std::to_string(index) + "]";
}

/// A JSON value, which may be given as text because datasets with typed columns store it so.
Json parsed(const Json& value, const std::string& where) {
  return value.is_string() && !trim(value.get_ref<const std::string&>()).empty()
             ? parse_python_json(value.get_ref<const std::string&>(), where, ErrorKind::kData)
         : value.is_string() ? Json()
                             : value;
}

class ConversationReader {
 public:
  ConversationReader(const Fields& fields, const tokenizer::ChatTemplate& chat_template) : fields_(fields), template_(chat_template) {}

  ChatRow read() const {
    const Json messages = fields_.json(fields_.has("messages") || !fields_.has("conversations") ? "messages" : "conversations");
    ChatRow row = empty_row();
    if (!messages.is_array()) {
      row.conversation.messages = messages;  // rejected by rendering
      return row;
    }
    append(messages, "messages", row);
    add_system(row);
    return row;
  }

  ChatRow read_prompt() const {
    ChatRow row = empty_row();
    append(list("prompt"), fields_.column("prompt"), row);
    add_system(row);
    return row;
  }

  void append_completion(ChatRow& row) const { append(list("completion"), fields_.column("completion"), row); }

 private:
  [[noreturn]] void fail(const std::string& what) const { data_error(fields_.origin(), what); }

  /// A row without messages yet.
  ChatRow empty_row() const {
    ChatRow row;
    row.conversation.messages = Json::array();
    row.conversation.tools = tools();
    row.conversation.kwargs = kwargs(row.conversation.tools);
    return row;
  }

  /// A field that must be a list of messages because the row's other field is one.
  const Json& list(const std::string& field) const {
    const Json& value = fields_.value(field);
    if (!value.is_array() || value.empty()) {
      fields_.fail(field, "found " + found_text(value) +
                              ", expected a list of at least one message: prompt and completion must both be texts or both be messages");
    }
    for (size_t i = 0; i < value.size(); ++i) {
      if (!value[i].is_object()) {
        fail(place_of(fields_.column(field), i) + ": found " + shown(value[i]) + R"(, expected an object with a string "role")");
      }
    }
    return value;
  }

  void append(const Json& messages, const std::string& list, ChatRow& row) const {
    for (size_t i = 0; i < messages.size(); ++i) {
      row.conversation.messages.push_back(message(messages[i], place_of(list, i)));
      row.excluded.push_back(is_excluded(row.conversation.messages.back(), place_of(list, i)));
    }
  }

  Json message(const Json& own, const std::string& place) const {
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
      name_role(result, place);
    }
    return result;
  }

  void name_role(Json& message, const std::string& place) const {
    const std::string name = message["role"].get<std::string>();
    const auto known = std::find_if(kRoleNames.begin(), kRoleNames.end(), [&](const RoleName& entry) { return name == entry.name; });
    const bool is_known = known != kRoleNames.end();
    // A template's own name for the assistant ("model") is only in what it writes, while its own names for tools are in what it reads.
    if (name == "developer" || (template_.names(name) && (!is_known || known->role == kTool || !template_.names(known->role)))) {
      return;
    }
    if (!is_known) {
      fail(place + ": the role is unknown: found \"" + printable(name) +
           "\", expected system, developer, user, assistant or tool, one of ShareGPT's names (human, gpt, …), or a role that the chat "
           "template " +
           template_.name() + " names");
    }
    message["role"] = known->role;
    if (name == "function_call" || name == "tool_call") {
      move_calls(message, message["content"], place);
      message["content"] = "";
    }
    if (message.contains("function_call") && !message["function_call"].is_null() && !template_.names("function_call")) {
      move_calls(message, message["function_call"], place);
      message.erase("function_call");
    }
  }

  /// Converts one or several calls {"name", "arguments"} to tool_calls.
  void move_calls(Json& message, const Json& value, const std::string& place) const {
    const std::string where = fields_.origin() + ": " + place;
    Json calls = parsed(value, where);
    calls = calls.is_array() ? calls : Json::array({calls});
    Json result = Json::array();
    for (Json& call : calls) {
      if (!call.is_object() || !call.contains("name") || !call["name"].is_string()) {
        fail(place + ": found " + shown(value) + ", expected a call {\"name\": …, \"arguments\": {…}} or an array of calls");
      }
      const Json arguments = call.contains("arguments") ? call["arguments"] : call.value("parameters", Json::object());
      result.push_back({{"type", "function"}, {"function", {{"name", call["name"]}, {"arguments", parsed(arguments, where)}}}});
    }
    message["tool_calls"] = std::move(result);
  }

  bool is_excluded(const Json& message, const std::string& place) const {
    bool excluded = false;
    if (!message.is_object()) {
      return false;
    }
    for (const char* key : kPartKeys) {
      if (message.contains(key) && !message[key].is_null()) {
        fail(place + "." + key + ": parts of a turn cannot be excluded from the loss. Use \"train\": false to exclude the whole turn.");
      }
    }
    for (const char* key : kLearnKeys) {
      const auto value = message.find(key);
      if (value == message.end() || value->is_null()) {
        continue;
      }
      const bool no = *value == false || *value == 0;
      if (!no && *value != true && *value != 1) {
        fail(place + "." + key + ": found " + shown(*value) + ", expected 0 or 1 (false or true), as a turn is supervised or not");
      }
      if (!no && message.value("role", Json()) != kAssistant) {
        fail(place + "." + key + ": found " + shown(*value) + " on a turn of the role " + shown(message.value("role", Json())) +
             ", expected 0: the key chooses among the turns of the assistant");
      }
      excluded = excluded || no;
    }
    return excluded;
  }

  /// The "system" column becomes the first message. Messages with a system message of their own must not have it.
  void add_system(ChatRow& row) const {
    if (!fields_.has("system") || fields_.text("system").empty()) {
      return;
    }
    Json& messages = row.conversation.messages;
    if (!messages.empty() && messages[0].is_object() && messages[0].value("role", Json()) == kSystem) {
      fields_.fail("system", "found together with a system message, expected only one of the two");
    }
    messages.insert(messages.begin(), Json{{"role", kSystem}, {"content", fields_.text("system")}});
    row.excluded.insert(row.excluded.begin(), false);
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

  /// Variables of the template; "tools" among them replaces the row's.
  Json kwargs(Json& tools) const {
    if (!fields_.has("chat_template_kwargs")) {
      return Json();
    }
    Json kwargs = fields_.json("chat_template_kwargs");
    if (!kwargs.is_object()) {
      fields_.fail("chat_template_kwargs", "found " + type_name(kwargs) + ", expected an object with variables of the template");
    }
    for (const char* name : kNoVariables) {
      if (kwargs.contains(name)) {
        fields_.fail("chat_template_kwargs", "found \"" + std::string(name) + "\", which is not a variable of a template");
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

/// The earlier turns of an instruction row: pairs of an instruction and its answer.
std::vector<std::pair<std::string, std::string>> history_of(const Fields& fields) {
  std::vector<std::pair<std::string, std::string>> turns;
  if (!fields.has("history") || fields.is_empty("history")) {
    return turns;
  }
  const Json history = fields.json("history");
  const auto is_pair = [](const Json& turn) {
    return turn.is_array() && turn.size() == 2 && turn[0].is_string() && turn[1].is_string();
  };
  if (!history.is_array() || !std::all_of(history.begin(), history.end(), is_pair)) {
    fields.fail("history", "found " + shown(history) + ", expected a list of pairs of texts: [[instruction, answer], …]");
  }
  for (const Json& turn : history) {
    turns.emplace_back(turn[0].get<std::string>(), turn[1].get<std::string>());
  }
  return turns;
}

}  // namespace

bool has_conversation(const Fields& fields) {
  return fields.has("messages") || fields.has("conversations");
}

ChatRow read_conversation(const Fields& fields, const tokenizer::ChatTemplate& chat_template) {
  return ConversationReader(fields, chat_template).read();
}

bool has_message_pair(const Fields& fields) {
  const auto is_list = [&fields](const char* field) { return fields.has(field) && fields.value(field).is_array(); };
  return is_list("prompt") || is_list("completion");
}

tokenizer::Conversation read_prompt_messages(const Fields& fields, const tokenizer::ChatTemplate& chat_template) {
  return ConversationReader(fields, chat_template).read_prompt().conversation;
}

MessagePair read_message_pair(const Fields& fields, const tokenizer::ChatTemplate& chat_template) {
  const ConversationReader reader(fields, chat_template);
  MessagePair pair;
  pair.whole = reader.read_prompt();
  pair.prompt = pair.whole.conversation;
  reader.append_completion(pair.whole);
  return pair;
}

// The instruction and its input, one line each, are the content of the user's message, as in LLaMA-Factory.
Json instruction_messages(const Fields& fields) {
  Json messages = Json::array();
  const auto add = [&messages](const char* role, const std::string& content) {
    messages.push_back({{"role", role}, {"content", content}});
  };
  if (fields.has("system") && !fields.text("system").empty()) {
    add(kSystem, fields.text("system"));
  }
  for (const auto& [asked, answered] : history_of(fields)) {
    add(kUser, asked);
    add(kAssistant, answered);
  }
  const std::string& instruction = fields.text("instruction");
  const std::string input = fields.has("input") ? fields.text("input") : "";
  const char* border = instruction.empty() || input.empty() ? "" : "\n";
  add(kUser, instruction + border + input);
  return messages;
}

std::string alpaca_prompt(const Fields& fields) {
  for (const char* field : {"history", "system"}) {
    if (fields.has(field) && !fields.is_empty(field)) {
      fields.fail(field, "found " + shown(fields.value(field)) +
                             ", which the Stanford Alpaca prompt cannot express. Set data.chat_template (--chat-template in the other "
                             "programs) to write these rows with a chat template, or remove the column.");
    }
  }
  return instruction_prompt(fields.text("instruction"), fields.has("input") ? fields.text("input") : "");
}

}  // namespace lora::data

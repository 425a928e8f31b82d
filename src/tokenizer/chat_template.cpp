#include "lora/tokenizer/chat_template.h"

#include <ctime>

#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/text.h"
#include "tokenizer/jinja/json_values.h"
#include "tokenizer/jinja/parser.h"

namespace lora::tokenizer {
namespace {

const jinja::Limits& limits() {
  static const jinja::Limits kLimits;
  return kLimits;
}

[[noreturn]] void fail_in_template(const std::string& name, const jinja::Failure& failure) {
  model_error(name + ":" + std::to_string(failure.at.line) + ":" + std::to_string(failure.at.column),
              "the chat template: " + printable(failure.what(), 400));
}

std::optional<jinja::Program> parsed(const std::string& name, const std::string& source) {
  if (source.empty()) {
    return std::nullopt;
  }
  if (const size_t invalid = invalid_utf8_at(source); invalid != std::string::npos) {
    model_error(name, "the chat template is not valid UTF-8 at byte " + std::to_string(invalid));
  }
  try {
    return jinja::parse(source, limits());
  } catch (const jinja::Failure& failure) {
    fail_in_template(name, failure);
  }
}

std::chrono::local_seconds clock_time() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  return std::chrono::local_seconds(std::chrono::seconds(timegm(&local)));
}

// As transformers prepares messages: keys with null count as missing, and other names of the reasoning text are filled in.
Json prepared(const Json& message) {
  Json result = Json::object();
  const Json* reasoning = nullptr;
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    if (reasoning == nullptr && message.contains(name) && !message[name].is_null()) {
      reasoning = &message[name];
    }
  }
  if (reasoning != nullptr) {
    result["thinking"] = *reasoning;
  }
  for (const auto& [key, value] : message.items()) {
    if (!value.is_null()) {
      result[key] = value;
    }
  }
  if (reasoning != nullptr) {
    result["reasoning_content"] = *reasoning;
  }
  return result;
}

Json prepared_messages(const Conversation& conversation, const std::string& where) {
  const Json& messages = conversation.messages;
  if (!messages.is_array() || messages.empty()) {
    data_error(where,
               "messages: found " + (messages.is_array() ? "an empty array" : type_name(messages)) + ", expected an array of messages");
  }
  Json result = Json::array();
  for (size_t i = 0; i < messages.size(); ++i) {
    const Json& message = messages[i];
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string()) {
      data_error(where, "messages[" + std::to_string(i) + "]: found " + shown(message) + R"(, expected an object with a string "role")");
    }
    result.push_back(prepared(message));
  }
  return result;
}

}  // namespace

struct ChatTemplate::Parts {
  TemplateTexts texts;
  Tokens tokens;
  std::chrono::local_seconds now;
  jinja::Program usual;
  std::optional<jinja::Program> with_tools;

  const jinja::Program& program(const Conversation& conversation) const {
    return with_tools && !conversation.tools.is_null() ? *with_tools : usual;
  }
};

ChatTemplate::ChatTemplate(std::string name, const std::string& source, Tokens tokens, const std::string& tool_source,
                           std::optional<std::chrono::local_seconds> now)
    : name_(std::move(name)), parts_(std::make_unique<Parts>()) {
  parts_->texts = {source, tool_source};
  parts_->tokens = std::move(tokens);
  parts_->now = now ? *now : clock_time();
  if (auto usual = parsed(name_, source)) {
    parts_->usual = std::move(*usual);
  }
  parts_->with_tools = parsed(name_, tool_source);
}

ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;

RenderedChat ChatTemplate::render(const Conversation& conversation, bool add_generation_prompt, const std::string& where) const {
  if (!conversation.tools.is_null() && !conversation.tools.is_array()) {
    data_error(where, "tools: found " + type_name(conversation.tools) + ", expected an array of JSON schemas");
  }
  const Json messages = prepared_messages(conversation, where);
  jinja::Runtime runtime(limits(), parts_->now);
  RenderedChat chat;
  runtime.main_output = &chat.text;
  try {
    const auto scope = std::make_shared<jinja::Scope>(nullptr);
    scope->set("messages", jinja::value_of(runtime, messages));
    scope->set("tools", jinja::value_of(runtime, conversation.tools));
    scope->set("documents", jinja::Value());
    scope->set("add_generation_prompt", add_generation_prompt);
    for (const auto& [token, text] : parts_->tokens) {
      scope->set(token, runtime.text(text));
    }
    for (const auto& [name, value] : conversation.kwargs.items()) {
      scope->set(name, jinja::value_of(runtime, value));
    }
    // The template's own names have a separate scope, as in Jinja.
    parts_->program(conversation).block.execute(runtime, std::make_shared<jinja::Scope>(scope), chat.text);
  } catch (const jinja::Failure& failure) {
    if (failure.raised) {
      data_error(where, "the chat template rejects the conversation: " + printable(failure.what(), 400) + " (" + name_ + ":" +
                            std::to_string(failure.at.line) + ":" + std::to_string(failure.at.column) + ")");
    }
    fail_in_template(name_, failure);
  }
  for (const jinja::Runtime::Span& span : runtime.generations) {
    chat.assistant.push_back({span.begin, std::min(span.end, chat.text.size())});
  }
  return chat;
}

bool ChatTemplate::names(const std::string& text) const {
  const auto has = [&text](const std::string& source) {
    return source.find("'" + text + "'") != std::string::npos || source.find('"' + text + '"') != std::string::npos;
  };
  return has(parts_->texts.usual) || has(parts_->texts.with_tools);
}

bool ChatTemplate::marks_assistant(const Conversation& conversation) const {
  return parts_->program(conversation).has_generation;
}

const TemplateTexts& ChatTemplate::texts() const {
  return parts_->texts;
}

// Without the date of strftime_now, which would invalidate a cache of tokenized data every day.
std::string ChatTemplate::identity() const {
  Json all{{"source", sha256(parts_->texts.usual)}, {"tool_source", sha256(parts_->texts.with_tools)}, {"tokens", parts_->tokens}};
  return sha256(all.dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace lora::tokenizer

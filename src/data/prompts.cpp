#include "lora/data/prompts.h"

#include <algorithm>

#include "data/conversation.h"
#include "data/fields.h"
#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/text.h"
#include "lora/data/rows.h"

namespace lora::data {
namespace {

constexpr const char* kResponse = "\n\n### Response:\n";

class PromptReader {
 public:
  PromptReader(const Row& row, const PromptContext& context) : row_(row), context_(context), fields_(row, kNoRenames) {}

  PromptRow read() {
    prompt_.origin = row_.origin;
    const auto read_given = reader();
    if (fields_.has("adapter")) {
      prompt_.adapter = fields_.text("adapter");
    } else if (row_.object.contains("adapter") && row_.object["adapter"].is_null()) {
      prompt_.adapter = "";
    }
    context_.check(prompt_);
    (this->*read_given)();
    prompt_.id = fields_.has("id") ? row_.object["id"] : Json();
    return std::move(prompt_);
  }

 private:
  /// The function that reads the row. Training rows may have a "text" next to an "instruction", or both next to a prompt: the first of
  /// these in the list counts.
  void (PromptReader::*reader())() {
    const auto num_kinds = int{fields_.has("prompt")} + int{has_conversation(fields_)} + int{fields_.has("input_ids")};
    if (num_kinds > 1) {
      data_error(row_.origin, R"(found several of "prompt", "messages" and "input_ids", expected one of them)");
    }
    const bool has_messages = has_conversation(fields_) || (fields_.has("prompt") && has_message_pair(fields_));
    if (has_messages) {
      return &PromptReader::read_messages;
    }
    using Entry = std::pair<const char*, void (PromptReader::*)()>;
    for (const auto& [field, read] : std::initializer_list<Entry>{{"prompt", &PromptReader::read_prompt},
                                                                  {"input_ids", &PromptReader::read_input_ids},
                                                                  {"instruction", &PromptReader::read_instruction},
                                                                  {"text", &PromptReader::read_text}}) {
      if (fields_.has(field)) {
        return read;
      }
    }
    data_error(row_.origin, R"(found none of "prompt", "messages", "input_ids", "instruction" and "text", expected one of them)");
  }

  void keep(const char* field) {
    if (fields_.has(field)) {
      prompt_.given[field] = row_.object[field];
    }
  }

  void set_text(const std::string& text) {
    prompt_.ids = encode_prompt(text, {context_.tokenizer(), context_.parse_special_tokens}, context_.vocab_size, row_.origin);
  }

  void set_talk(const ChatEncoder& encoder, const tokenizer::Conversation& conversation) {
    prompt_.is_talk = true;
    prompt_.ids = encoder.prompt(conversation, row_.origin).ids;
    require_valid_prompt(prompt_.ids, context_.tokenizer(), context_.vocab_size, row_.origin);
  }

  void read_input_ids() {
    prompt_.ids = fields_.integers("input_ids", 0, context_.vocab_size - 1, 0);
    prompt_.given["input_ids"] = prompt_.ids;
    if (prompt_.ids.empty()) {
      fields_.fail("input_ids", "found no ids, expected at least one");
    }
  }

  void read_prompt() {
    keep("prompt");
    set_text(fields_.text("prompt"));
  }

  void read_text() {
    keep("text");
    set_text(fields_.text("text"));
  }

  void read_messages() {
    const ChatEncoder& encoder = context_.chat(prompt_.adapter);
    if (fields_.has("prompt")) {
      keep("prompt");
      return set_talk(encoder, read_prompt_messages(fields_, encoder.chat_template()));
    }
    prompt_.given["messages"] = fields_.json(fields_.has("messages") ? "messages" : "conversations");
    set_talk(encoder, read_conversation(fields_, encoder.chat_template()).conversation);
  }

  void read_instruction() {
    for (const char* field : {"system", "history", "instruction", "input"}) {
      keep(field);
    }
    const ChatEncoder* encoder = context_.instruction_chat ? context_.instruction_chat(prompt_.adapter) : nullptr;
    encoder == nullptr ? set_text(alpaca_prompt(fields_)) : set_talk(*encoder, {instruction_messages(fields_), Json()});
  }

  static inline const SourceOptions kNoRenames;
  const Row& row_;
  const PromptContext& context_;
  const Fields fields_;
  PromptRow prompt_;
};

}  // namespace

std::vector<PromptRow> load_prompts(const std::string& path, const PromptContext& context) {
  const FileKind* const kind = file_kind(path);
  if (kind == nullptr || kind->is_plain_text) {
    config_error("--prompts", "found '" + path + "', expected a " + file_endings(" or ", /*with_text=*/false) + " file, or -");
  }
  std::vector<PromptRow> prompts;
  read_rows(path, *kind, [&prompts, &context](const Row& row) {
    throw_if_interrupted();
    prompts.push_back(PromptReader(row, context).read());
    return true;
  });
  if (prompts.empty()) {
    data_error(path, "found no rows, expected at least one, for example {\"prompt\": \"…\"}");
  }
  return prompts;
}

std::vector<int32_t> encode_prompt(const std::string& text, const TextRule& rule, int64_t vocab_size, const std::string& where) {
  std::vector<int32_t> ids = prompt_ids(text, rule, where);
  require_valid_prompt(ids, rule.tokenizer, vocab_size, where);
  return ids;
}

void require_valid_prompt(const std::vector<int32_t>& ids, const tokenizer::Tokenizer& tokenizer, int64_t vocab_size,
                          const std::string& where) {
  if (ids.empty()) {
    data_error(where, "the prompt is empty: found no tokens, expected at least one (this tokenizer adds no BOS)");
  }
  const int32_t largest = *std::max_element(ids.begin(), ids.end());
  if (largest >= vocab_size) {
    data_error(where, "the tokenizer does not fit the model: found the id " + std::to_string(largest) + " (" +
                          printable(tokenizer.token(largest)) + "), expected ids from 0 to " + std::to_string(vocab_size - 1) +
                          ". Likely cause: the tokenizer of another model.");
  }
}

std::string instruction_prompt(const std::string& instruction, const std::string& input) {
  std::string prompt = "Below is an instruction that describes a task";
  prompt += input.empty() ? "" : ", paired with an input that provides further context";
  prompt += ". Write a response that appropriately completes the request.";
  prompt += kNextInstruction + instruction;
  prompt += input.empty() ? "" : "\n\n### Input:\n" + input;
  return prompt + kResponse;
}

std::string conversation_prompt(const std::vector<Turn>& turns) {
  std::string prompt;
  for (const Turn& turn : turns) {
    prompt += prompt.empty() ? instruction_prompt(turn.instruction, "") : kNextInstruction + turn.instruction + kResponse;
    prompt += turn.reply;
  }
  return prompt;
}

}  // namespace lora::data

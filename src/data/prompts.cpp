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

PromptRow read_prompt(const Row& row, const PromptContext& context) {
  static const SourceOptions kNoRenames;
  const Fields fields(row, kNoRenames);
  PromptRow prompt;
  prompt.origin = row.origin;
  const auto num_kinds = int{fields.has("prompt")} + int{has_conversation(fields)} + int{fields.has("input_ids")};
  if (num_kinds != 1) {
    data_error(row.origin, std::string("found ") + (num_kinds == 0 ? "none" : "several") + " of \"prompt\", \"messages\" and " +
                               "\"input_ids\", expected one of them.");
  }
  if (fields.has("adapter")) {
    prompt.adapter = fields.text("adapter");
  } else if (row.object.contains("adapter") && row.object["adapter"].is_null()) {
    prompt.adapter = "";
  }
  context.check(prompt);
  if (fields.has("input_ids")) {
    prompt.ids = fields.integers("input_ids", 0, context.vocab_size - 1, 0);
    if (prompt.ids.empty()) {
      fields.fail("input_ids", "found no id, expected one at least.");
    }
  } else if (has_conversation(fields)) {
    const ChatEncoder& encoder = context.chat(prompt.adapter);
    prompt.messages = fields.json(fields.has("messages") ? "messages" : "conversations");
    prompt.ids = encoder.prompt(read_conversation(fields, encoder.chat_template()).conversation, row.origin).ids;
    check_prompt(prompt.ids, context.tokenizer(), context.vocab_size, row.origin);
  } else {
    prompt.text = fields.text("prompt");
    prompt.ids = encode_prompt(*prompt.text, {context.tokenizer(), context.parse_special_tokens}, context.vocab_size, row.origin);
  }
  prompt.id = fields.has("id") ? row.object["id"] : Json();
  return prompt;
}

}  // namespace

std::vector<PromptRow> load_prompts(const std::string& path, const PromptContext& context) {
  const auto kind = file_kind(path);
  if (!kind || *kind == FileKind::kText) {
    config_error("--prompts", "found '" + path + "', expected a .jsonl, .json or .csv file, or -.");
  }
  std::vector<PromptRow> prompts;
  read_rows(path, *kind, [&prompts, &context](const Row& row) {
    check_interrupt();
    prompts.push_back(read_prompt(row, context));
    return true;
  });
  if (prompts.empty()) {
    data_error(path, "found no row, expected one at least, for instance {\"prompt\": \"…\"}.");
  }
  return prompts;
}

std::vector<int32_t> encode_prompt(const std::string& text, const TextRule& rule, int64_t vocab_size, const std::string& where) {
  std::vector<int32_t> ids = prompt_ids(text, rule, where);
  check_prompt(ids, rule.tokenizer, vocab_size, where);
  return ids;
}

void check_prompt(const std::vector<int32_t>& ids, const tokenizer::Tokenizer& tokenizer, int64_t vocab_size, const std::string& where) {
  if (ids.empty()) {
    data_error(where, "the prompt is empty: found no token, expected one at least (this tokenizer adds no BOS).");
  }
  const int32_t largest = *std::max_element(ids.begin(), ids.end());
  if (largest >= vocab_size) {
    data_error(where, "the tokenizer makes the id " + std::to_string(largest) + " (" + printable(tokenizer.token(largest)) +
                          "), and the model knows ids from 0 to " + std::to_string(vocab_size - 1) +
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

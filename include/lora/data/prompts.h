#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/data/chat.h"
#include "lora/data/text_ids.h"
#include "lora/tokenizer/tokenizer.h"

namespace lora::data {

/// One row of a file of prompts.
struct PromptRow {
  std::vector<int32_t> ids;            ///< one at least
  Json given = Json::object();         ///< the fields that the prompt was made of, as the row has them
  bool is_talk = false;                ///< a chat template wrote it, so that its end of turn ends the completion
  std::optional<std::string> adapter;  ///< "": none (null in the row); nothing: the row does not say
  Json id;                             ///< the row's own "id", null where it has none
  std::string origin;                  ///< "file:line"
};

/// What prompts must fit.
struct PromptContext {
  int64_t vocab_size = 0;                                  ///< of the model: ids from 0 to vocab_size - 1
  std::function<const tokenizer::Tokenizer&()> tokenizer;  ///< asked for at the first text
  /// What messages are written by, for the row's adapter (as PromptRow::adapter); asked for at the first messages.
  std::function<const ChatEncoder&(const std::optional<std::string>& adapter)> chat;
  /// What instruction rows are written by, for the row's adapter; null, or no function: the prompt of Alpaca.
  std::function<const ChatEncoder*(const std::optional<std::string>& adapter)> instruction_chat;
  std::function<void(const PromptRow& row)> check = [](const PromptRow&) {
  };                                 ///< may throw for the row's adapter; its ids are not yet there
  bool parse_special_tokens = true;  ///< of prompts that are texts; renderings of messages always are parsed
};

/// Rows {"prompt": text or messages}, {"messages": [...], "tools"?: [...]}, {"input_ids": [...]}, or rows of training: {"instruction",
/// "input"?, "system"?, "history"?} or {"text"}; each with an optional "adapter" (a name, null: none) and "id", of a file of a dataset
/// (.jsonl, .json, .csv, "-" for stdin). What such a row should be answered with is ignored. Throws data Error naming file and line, for
/// a file without rows too, and config Error for a file of another kind.
std::vector<PromptRow> load_prompts(const std::string& path, const PromptContext& context);

/// Ids of a prompt's text: BOS where the tokenizer's rules want one, no EOS. Throws data Error naming `where` for a text
/// without a token, and for an id that the model does not know.
std::vector<int32_t> encode_prompt(const std::string& text, const TextRule& rule, int64_t vocab_size, const std::string& where);

/// What encode_prompt throws for the ids of a prompt.
void check_prompt(const std::vector<int32_t>& ids, const tokenizer::Tokenizer& tokenizer, int64_t vocab_size, const std::string& where);

/// The prompt of an instruction row, as Stanford Alpaca has it.
std::string instruction_prompt(const std::string& instruction, const std::string& input);

/// What a user said and what was answered; the last turn has no answer yet.
struct Turn {
  std::string instruction;
  std::string reply;
};

/// What an instruction after an answer begins with.
inline constexpr const char* kNextInstruction = "\n\n### Instruction:\n";

/// A conversation as one prompt: the first turn as an instruction row's, the following ones behind it.
std::string conversation_prompt(const std::vector<Turn>& turns);

}  // namespace lora::data

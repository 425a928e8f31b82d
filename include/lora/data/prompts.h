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

/// One row of a prompts file.
struct PromptRow {
  std::vector<int32_t> ids;            ///< at least one
  Json given = Json::object();         ///< the fields that the prompt was built from, as in the row
  bool is_talk = false;                ///< written by a chat template, so that its end-of-turn token ends the completion
  std::optional<std::string> adapter;  ///< "": none (null in the row); no value: the row does not specify one
  Json id;                             ///< the row's "id", or null
  std::string origin;                  ///< "file:line"
};

/// What prompts are encoded with.
struct PromptContext {
  int64_t vocab_size = 0;                                  ///< of the model: ids from 0 to vocab_size - 1
  std::function<const tokenizer::Tokenizer&()> tokenizer;  ///< called only when a row has text
  /// The encoder of messages for the row's adapter (as PromptRow::adapter); called only when a row has messages.
  std::function<const ChatEncoder&(const std::optional<std::string>& adapter)> chat;
  /// The encoder of instruction rows for the row's adapter; null, or no function: the Alpaca prompt.
  std::function<const ChatEncoder*(const std::optional<std::string>& adapter)> instruction_chat = nullptr;
  std::function<void(const PromptRow& row)> check = [](const PromptRow&) {
  };                                 ///< may throw for the row's adapter; called before the ids are set
  bool parse_special_tokens = true;  ///< in prompts that are texts; they are always parsed in rendered messages
};

/// Reads rows {"prompt": text or messages}, {"messages": [...], "tools"?: [...]}, {"input_ids": [...]}, or training rows {"instruction",
/// "input"?, "system"?, "history"?} or {"text"}, each with an optional "adapter" (a name; null: none) and "id", from a .jsonl, .json or
/// .csv file ("-": JSON Lines on stdin). The answer in a training row is ignored. Throws data Error naming file and line, also for a file
/// without rows, and config Error for another kind of file.
std::vector<PromptRow> load_prompts(const std::string& path, const PromptContext& context);

/// Ids of a prompt's text: with BOS if the tokenizer adds one, without EOS. Throws data Error naming `where` if there is no token, or
/// an id is outside the model's vocabulary.
std::vector<int32_t> encode_prompt(const std::string& text, const TextRule& rule, int64_t vocab_size, const std::string& where);

/// Throws for the ids of a prompt as encode_prompt does.
void require_valid_prompt(const std::vector<int32_t>& ids, const tokenizer::Tokenizer& tokenizer, int64_t vocab_size,
                          const std::string& where);

/// The prompt of an instruction row in the format of Stanford Alpaca.
std::string instruction_prompt(const std::string& instruction, const std::string& input);

/// An instruction and its answer, which the last turn does not have yet.
struct Turn {
  std::string instruction;
  std::string reply;
};

/// The text that begins an instruction after an answer.
inline constexpr const char* kNextInstruction = "\n\n### Instruction:\n";

/// A conversation as one prompt: the first turn as in an instruction row, then the following turns.
std::string conversation_prompt(const std::vector<Turn>& turns);

}  // namespace lora::data

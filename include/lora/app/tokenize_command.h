#pragma once
#include <filesystem>
#include <string>

#include "lora/config/run_config.h"

namespace lora::app {

/// The flags of `lora-tokenize`.
struct TokenizeRequest {
  std::string model;                    ///< --model: folder of the model, or the tokenizer's file
  std::string input;                    ///< --input: rows, "-": standard input
  std::filesystem::path output;         ///< --output: .jsonl
  bool decode = false;                  ///< --decode: from ids to text
  std::string chat_template;            ///< --chat-template: a built-in name or a file; empty: the model's own
  std::string documents = "line";       ///< --documents: what a document of a .txt input is
  std::string train_on = "completion";  ///< --train-on: what the mask marks
  bool parse_special_tokens = true;     ///< --no-parse-special-tokens: those in texts are plain text
  bool generation_prompt = false;       ///< --add-generation-prompt: messages up to where the answer begins
  config::Surroundings surroundings;    ///< where downloaded models are
};

/// Writes a row for each row of the input, in order: {"text"} becomes {"input_ids"}, as transformers' `tokenizer(text)` gives them
/// (special tokens named in the text are recognised unless told otherwise, those that belong around a text are added); {"messages",
/// "tools"?} becomes
/// {"text", "input_ids", "mask"} by the chat template, as apply_chat_template gives them, mask 1 where a token is learnt; rows of the
/// other formats become {"input_ids", "mask"} as training reads them, with "seq_lengths" for several documents; with `decode`,
/// {"input_ids"} becomes {"text"}, special tokens shown. The output file appears whole at the end. Needs the tokenizer's files alone.
/// Throws data Error for a row of another kind, model Error for the tokenizer, output Error.
int tokenize_command(const TokenizeRequest& request);

}  // namespace lora::app

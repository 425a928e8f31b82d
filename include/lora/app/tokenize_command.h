#pragma once
#include <filesystem>
#include <string>

#include "lora/config/run_config.h"

namespace lora::app {

/// The flags of `lora-tokenize`.
struct TokenizeRequest {
  std::string model;                    ///< --model: folder of the model, or the tokenizer's file
  std::string input;                    ///< --input: a file of rows, or "-" for standard input
  std::filesystem::path output;         ///< --output: .jsonl
  bool decode = false;                  ///< --decode: convert ids to text
  std::string chat_template;            ///< --chat-template: a built-in name, a file or a folder; empty: the model's
  std::string documents = "line";       ///< --documents: the unit of a .txt input that is one document
  std::string train_on = "completion";  ///< --train-on: the tokens that the mask marks
  bool parse_special_tokens = true;     ///< --no-parse-special-tokens: special tokens in texts are plain text
  bool generation_prompt = false;       ///< --add-generation-prompt: end messages with the generation prompt
  config::Surroundings surroundings;    ///< where downloaded models are
};

/// Writes one row for each row of the input, in order:
///   {"text"}                 becomes {"input_ids"}, as transformers' `tokenizer(text)` gives them: special tokens in the text are
///                            recognised unless parse_special_tokens is false, and those around a text are added
///   {"messages", "tools"?}   becomes {"text", "input_ids", "mask"}, as apply_chat_template gives them; mask is 1 for supervised tokens
///   rows of other formats    become {"input_ids", "mask"} as in training, with "seq_lengths" for several documents
///   {"input_ids"}            becomes {"text"} with `decode`, special tokens shown
/// The output file appears complete at the end. Only needs the tokenizer's files. Throws data Error for a row of another kind, model Error
/// for the tokenizer, output Error.
int tokenize_command(const TokenizeRequest& request);

}  // namespace lora::app

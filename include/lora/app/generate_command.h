#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "lora/app/inference_request.h"
#include "lora/generate/options.h"

namespace lora::app {

/// The flags of `lora-generate`. Exactly one of prompt, message, prompts and chat is given.
struct GenerateRequest {
  InferenceRequest inference;
  std::optional<std::string> prompt;    ///< --prompt
  std::optional<std::string> message;   ///< --message: a user message, for the chat template
  std::string system;                   ///< --system: system message for message and chat; empty: none
  std::string prompts;                  ///< --prompts: a file of rows
  bool chat = false;                    ///< --chat
  std::string chat_template;            ///< --chat-template; empty: the adapter's, else the model's
  bool parse_special_tokens = true;     ///< --no-parse-special-tokens: special tokens in prompts are plain text
  generate::GenerationOptions options;  ///< eos_ids are set from the model
  int64_t batch_size = 8;               ///< --batch-size: prompts per batch
  std::filesystem::path output;         ///< --output; empty: standard output
};

/// Completes prompts. A single completion is streamed to standard output. For rows, writes one row
/// {"index", "id"?, "prompt" or "input_ids", "completion", "output_ids", "finish_reason", "adapter"} each, in the order of the input; after
/// a signal, the rows that are finished. A chat continues until its input ends. Throws what loading throws, data Error for an invalid
/// prompt, config Error for invalid options.
int generate_command(const GenerateRequest& request);

}  // namespace lora::app

#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "lora/app/inference_request.h"
#include "lora/generate/options.h"

namespace lora::app {

/// The flags of `lora-generate`: one of prompt, message, prompts and chat.
struct GenerateRequest {
  InferenceRequest inference;
  std::optional<std::string> prompt;    ///< --prompt
  std::optional<std::string> message;   ///< --message: a user's question, put into the chat template
  std::string system;                   ///< --system: what stands before message and chat; empty: nothing
  std::string prompts;                  ///< --prompts: file of rows
  bool chat = false;                    ///< --chat
  std::string chat_template;            ///< --chat-template; empty: the adapter's, else the model's own
  bool parse_special_tokens = true;     ///< --no-parse-special-tokens: those of a prompt are plain text
  generate::GenerationOptions options;  ///< eos_ids are the model's
  int64_t batch_size = 8;               ///< --batch-size: prompts at a time
  std::filesystem::path output;         ///< --output; empty: standard output
};

/// Completes prompts. One alone is streamed to standard output; rows are answered by rows
/// {"index", "id"?, "prompt" or "input_ids", "completion", "output_ids", "finish_reason", "adapter"} in the order of the
/// input; a chat goes on until its input ends. Interrupted by a signal, the rows that are done are written, whole.
/// Throws what loading throws, data Error for a prompt that does not fit, config Error for options that do not.
int generate_command(const GenerateRequest& request);

}  // namespace lora::app

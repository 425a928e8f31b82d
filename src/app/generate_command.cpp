#include "lora/app/generate_command.h"

#include <iostream>

#include "chat.h"
#include "generate_rows.h"
#include "generation.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/interrupt.h"
#include "lora/base/text.h"
#include "lora/data/prompts.h"

namespace lora::app {

namespace {

/// The output must be writable before hours of work, and must not replace what it is made from.
void check_output(const GenerateRequest& request) {
  const fs::path& output = request.output;
  if (output.empty()) {
    return;
  }
  if (request.chat) {
    config_error("--output", "found it beside --chat, which writes to standard output. Leave it out");
  }
  if (fs::is_directory(output)) {
    output_error(output.string(), "found a folder, expected a file to write");
  }
  std::error_code not_there;
  if (fs::equivalent(output, request.prompts, not_there)) {
    config_error("--output", "found '" + output.string() + "', which is the file of the prompts, expected another one");
  }
  make_writable_folder(fs::absolute(output).parent_path());
}

std::vector<data::PromptRow> load_rows(const GenerateRequest& request, Generation& generation) {
  const int64_t vocab_size = generation.model().vocab_size();
  if (request.prompt) {
    data::PromptRow row;
    row.ids = data::encode_prompt(*request.prompt, generation.tokenizer(), vocab_size, "--prompt");
    row.text = request.prompt;
    return {row};
  }
  data::PromptContext context;
  context.vocab_size = vocab_size;
  context.tokenizer = [&generation]() -> const tokenizer::Tokenizer& { return generation.tokenizer(); };
  context.chat = [&generation]() -> const data::ChatEncoder& { return generation.needed_chat_encoder(); };
  context.check = [&generation](const data::PromptRow& row) {
    if (row.adapter && !row.adapter->empty() && !generation.has_adapter(*row.adapter)) {
      const std::vector<std::string> names = generation.adapter_names();
      data_error(row.origin, "unknown adapter: found '" + printable(*row.adapter) + "', expected one of those given by --adapter: " +
                                 (names.empty() ? "none" : join(names)) + did_you_mean(*row.adapter, names));
    }
  };
  return data::load_prompts(request.prompts, context);
}

void stream(Generation& generation, const data::PromptRow& prompt) {
  const auto on_text = [](size_t, const std::string& piece) { std::cout << piece << std::flush; };
  generation.complete({{prompt.ids, 0}}, generation.default_adapter(), {}, on_text, [](size_t, const generate::Completion&) {});
  if (!(std::cout << std::endl)) {
    output_error("standard output", "cannot be written: found an error, expected room for the completion");
  }
}

}  // namespace

int generate_command(const GenerateRequest& request) {
  install_interrupt_handlers();
  check_output(request);
  Generation generation(request);
  if (request.chat) {
    chat(generation);
    return 0;
  }
  const std::vector<data::PromptRow> rows = load_rows(request, generation);
  if (request.prompt && request.output.empty()) {
    stream(generation, rows.front());
  } else {
    generate_rows(generation, rows, request.batch_size, request.output);
  }
  return 0;
}

}  // namespace lora::app

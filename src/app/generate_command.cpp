#include "lora/app/generate_command.h"

#include "chat.h"
#include "generate_rows.h"
#include "generation.h"
#include "lora/base/error.h"
#include "lora/base/terminal.h"
#include "lora/base/text.h"
#include "lora/data/prompts.h"
#include "result_inputs.h"

namespace lora::app {

namespace {

/// The output must be writable before hours of work, and must not replace what it is made from.
std::optional<ResultFile> checked_output(const GenerateRequest& request) {
  if (request.output.empty()) {
    return std::nullopt;
  }
  if (request.chat) {
    config_error("--output", "found it beside --chat, which writes to standard output. Leave it out");
  }
  return ResultFile(request.output, inputs_of(request.inference, {request.prompts, request.chat_template}));
}

std::vector<data::PromptRow> load_rows(const GenerateRequest& request, Generation& generation) {
  const int64_t vocab_size = generation.model().vocab_size();
  if (request.prompt) {
    data::PromptRow row;
    row.ids = data::encode_prompt(*request.prompt, generation.text_rule(), vocab_size, "--prompt");
    row.text = request.prompt;
    return {row};
  }
  data::PromptContext context;
  context.vocab_size = vocab_size;
  context.tokenizer = [&generation]() -> const tokenizer::Tokenizer& { return generation.tokenizer(); };
  context.parse_special_tokens = request.parse_special_tokens;
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
  const auto on_text = [](size_t, const std::string& piece) { terminal::print_generated(piece); };
  generation.complete({{prompt.ids, 0}}, generation.default_adapter(), {}, on_text, [](size_t, const generate::Completion&) {});
  terminal::print_generated("\n");
}

}  // namespace

int generate_command(const GenerateRequest& request) {
  const std::optional<ResultFile> output = checked_output(request);
  Generation generation(request);
  if (request.chat) {
    chat(generation);
    return 0;
  }
  const std::vector<data::PromptRow> rows = load_rows(request, generation);
  if (request.prompt && request.output.empty()) {
    stream(generation, rows.front());
  } else {
    generate_rows(generation, rows, request.batch_size, output);
  }
  return 0;
}

}  // namespace lora::app

#include "lora/app/generate_command.h"

#include "app/chat.h"
#include "app/generate_rows.h"
#include "app/generation.h"
#include "app/result_inputs.h"
#include "app/talk.h"
#include "lora/base/error.h"
#include "lora/base/terminal.h"
#include "lora/base/text.h"
#include "lora/data/prompts.h"

namespace lora::app {

namespace {

void require_consistent_generate_flags(const GenerateRequest& request) {
  if (!request.system.empty() && !request.message && !request.chat) {
    config_error("--system", "found it with " + std::string(request.prompt ? "--prompt" : "--prompts") +
                                 ", expected --message or --chat, as only a chat template can express it");
  }
  if (!request.chat_template.empty() && request.prompt) {
    config_error("--chat-template", "is not used by --prompt, whose text is completed unchanged. Use --message to apply the template.");
  }
}

/// Checks before hours of work that the output is writable and does not replace an input.
std::optional<ResultFile> checked_output_file(const GenerateRequest& request) {
  if (request.output.empty()) {
    return std::nullopt;
  }
  if (request.chat) {
    config_error("--output", "found it with --chat, which writes to standard output. Remove it.");
  }
  return ResultFile(request.output, inputs_of(request.inference, {request.prompts, request.chat_template}));
}

data::PromptRow message_row(const GenerateRequest& request, Generation& generation) {
  Talk talk(generation, "--message");
  talk.set_system(request.system);
  data::PromptRow row;
  row.ids = talk.ask(*request.message, generation.default_adapter(), 0).ids;
  row.given["messages"] = talk.messages();
  row.is_talk = true;
  return row;
}

data::PromptRow prompt_row(const GenerateRequest& request, Generation& generation) {
  data::PromptRow row;
  row.ids = data::encode_prompt(*request.prompt, generation.text_rule(), generation.model().vocab_size(), "--prompt");
  row.given["prompt"] = *request.prompt;
  return row;
}

std::vector<data::PromptRow> load_prompts(const GenerateRequest& request, Generation& generation) {
  data::PromptContext context;
  context.vocab_size = generation.model().vocab_size();
  context.tokenizer = [&generation]() -> const tokenizer::Tokenizer& { return generation.tokenizer(); };
  context.parse_special_tokens = request.parse_special_tokens;
  bool has_chats = false;
  context.chat = [&generation, &has_chats](const std::optional<std::string>& adapter) -> const data::ChatEncoder& {
    has_chats = true;
    return generation.needed_chat_encoder(adapter.value_or(generation.default_adapter()));
  };
  context.instruction_chat = [&generation, &has_chats](const std::optional<std::string>& adapter) {
    has_chats = true;
    return generation.instruction_encoder(adapter.value_or(generation.default_adapter()));
  };
  context.check = [&generation](const data::PromptRow& row) {
    if (row.adapter && !row.adapter->empty() && !generation.has_adapter(*row.adapter)) {
      const std::vector<std::string> names = generation.adapter_names();
      data_error(row.origin, "unknown adapter: found '" + printable(*row.adapter) + "', expected one of those given by --adapter: " +
                                 (names.empty() ? "none" : join(names)) + did_you_mean(*row.adapter, names));
    }
  };
  std::vector<data::PromptRow> rows = data::load_prompts(request.prompts, context);
  if (!has_chats && !request.chat_template.empty()) {
    config_error("--chat-template", "is not used: no row of " + request.prompts + " has messages or an instruction. Remove it.");
  }
  return rows;
}

void stream(Generation& generation, const data::PromptRow& prompt) {
  const auto on_text = [](size_t, const std::string& piece) { terminal::print_generated(piece); };
  const std::string adapter = generation.default_adapter();
  const generate::Prompt asked{prompt.ids, 0, prompt.is_talk ? generation.turn_ends(adapter) : std::vector<int32_t>()};
  const auto stop = prompt.is_talk ? talk_stops(generation, adapter) : std::vector<std::string>();
  generation.complete({asked}, adapter, stop, on_text, [](size_t, const generate::Completion&) {});
  terminal::print_generated("\n");
}

}  // namespace

int generate_command(const GenerateRequest& request) {
  require_consistent_generate_flags(request);
  const std::optional<ResultFile> output = checked_output_file(request);
  Generation generation(request);
  if (!request.system.empty()) {
    generation.needed_chat_encoder(generation.default_adapter());
  }
  if (request.chat) {
    chat(generation, request.system);
    return 0;
  }
  std::vector<data::PromptRow> rows;
  if (request.message || request.prompt) {
    rows.push_back(request.message ? message_row(request, generation) : prompt_row(request, generation));
  } else {
    rows = load_prompts(request, generation);
  }
  if ((request.prompt || request.message) && request.output.empty()) {
    stream(generation, rows.front());
  } else {
    generate_rows(generation, rows, request.batch_size, output);
  }
  return 0;
}

}  // namespace lora::app

#include "lora/app/generate_command.h"
#include "lora/data/rows.h"
#include "tools/flags.h"

namespace tools = lora::tools;

namespace {

void add_prompt_flags(CLI::App& cli, lora::app::GenerateRequest& request) {
  tools::begin_group(cli, tools::group::kPrompt);
  auto* source = cli.add_option_group("source");
  source->add_option("--prompt", request.prompt, "Complete this text and stream the completion to standard output")->type_name("TEXT");
  source->add_option("--message", request.message, "Answer this user message with the chat template and stream the answer")
      ->type_name("TEXT");
  source
      ->add_option("--prompts", request.prompts,
                   "Complete rows of {\"prompt\"}, {\"messages\"}, {\"instruction\"}, {\"text\"} or {\"input_ids\"}, each with an "
                   "optional \"adapter\" and \"id\" (" + lora::data::file_endings(", ", /*with_text=*/false) +
                       ", or - for standard input)")
      ->type_name("FILE");
  source->add_flag("--chat", request.chat,
                   "Chat with one line per turn, using the chat template, or the layout of instruction rows if there is none; "
                   "/help lists the commands, Ctrl-C ends an answer");
  source->require_option(1);
  cli.add_option("--system", request.system, "System message for --message and --chat")->type_name("TEXT");
  tools::add_chat_template_flag(cli, request.chat_template, "messages and --chat");
  cli.add_flag("--no-parse-special-tokens{false}", request.parse_special_tokens,
               "Read the text of special tokens in prompts as plain text");
}

void add_sampling_flags(CLI::App& cli, lora::generate::GenerationOptions& options) {
  tools::begin_group(cli, tools::group::kSampling);
  cli.add_option("--temperature", options.temperature, "Sampling temperature; 0 is greedy decoding (default: 0)")->type_name("X");
  cli.add_option("--top-k", options.top_k, "Sample from the K most likely tokens; 0 is off (default: 0)")->type_name("K");
  cli.add_option("--top-p", options.top_p, "Sample from the most likely tokens with total probability P; 1 is off (default: 1)")
      ->type_name("P");
  cli.add_option("--min-p", options.min_p, "Sample from tokens at least P times as likely as the most likely; 0 is off (default: 0)")
      ->type_name("P");
  cli.add_option("--repetition-penalty", options.repetition_penalty,
                 "Penalty on tokens of the prompt and completion; above 1 makes repetition less likely (default: 1)")
      ->type_name("X");
  cli.add_option("--seed", options.seed, "Seed for sampling (default: 42)")->type_name("N");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App cli{"Completes prompts with a model, with or without adapters.", "lora-generate"};
  lora::app::GenerateRequest request;
  tools::add_model_flags(cli, request.inference);
  add_prompt_flags(cli, request);
  tools::begin_group(cli, tools::group::kGeneration);
  cli.add_option("--max-new-tokens", request.options.max_new_tokens, "Maximum number of tokens per completion (default: 256)")
      ->type_name("N");
  cli.add_option("--stop", request.options.stop, "End the completion before this text, which may be a special token (repeatable)")
      ->type_name("TEXT")
      ->take_all()
      ->allow_extra_args(false);
  cli.add_option("--batch-size", request.batch_size, "Prompts per batch (default: 8)")->type_name("N");
  add_sampling_flags(cli, request.options);
  tools::begin_group(cli, tools::group::kOutput);
  cli.add_option("--output", request.output, "Write the rows of --prompts to this file when all are done (default: standard output)")
      ->type_name("FILE");
  tools::add_help_end(cli, "lora-generate --model base --adapter runs/first --prompt \"One morning\" --max-new-tokens 24",
                      "Exactly one of --prompt, --message, --prompts and --chat is required.\n"
                      "Without \"adapter\", a row of --prompts uses the first --adapter.\n"
                      "End-of-sequence tokens come from generation_config.json, else config.json, else the tokenizer.\n"
                      "The sampling settings in generation_config.json are not used.\n"
                      "After SIGINT or SIGTERM, the rows that are finished are written.\n");
  return lora::tools::run(cli, argc, argv, [&request] { return lora::app::generate_command(request); });
}

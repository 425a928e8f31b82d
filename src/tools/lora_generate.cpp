#include "flags.h"
#include "lora/app/generate_command.h"

int main(int argc, char** argv) {
  CLI::App cli{"Completes prompts with a model, with or without adapters.", "lora-generate"};
  lora::app::GenerateRequest request;
  lora::generate::GenerationOptions& options = request.options;
  lora::tools::add_model_flags(cli, request.inference);
  auto* source = cli.add_option_group("source", "One of these:");
  source->add_option("--prompt", request.prompt, "A text; its completion is streamed to standard output")->type_name("TEXT");
  source->add_option("--message", request.message, "A question, put into the chat template; the answer is streamed")->type_name("TEXT");
  source
      ->add_option("--prompts", request.prompts,
                   "Rows with \"prompt\", \"messages\", \"instruction\", \"text\" or \"input_ids\", and optional \"adapter\" and \"id\" "
                   "(.jsonl .json .csv, -)")
      ->type_name("FILE");
  source->add_flag(
      "--chat", request.chat,
      "Talk: a line a turn, by the chat template (without one as instruction rows are); Ctrl-C ends an answer, /help lists commands");
  source->require_option(1);
  cli.add_option("--system", request.system, "A system text before --message and --chat")->type_name("TEXT");
  cli.add_option("--chat-template", request.chat_template,
                 "Of messages and --chat: a built-in name, model, none, a file or folder (default: the adapter's, else the model's)")
      ->type_name("NAME");
  cli.add_flag("--no-parse-special-tokens{false}", request.parse_special_tokens, "The text of special tokens in a prompt is plain text");
  cli.add_option("--max-new-tokens", options.max_new_tokens, "At most so many tokens a completion (256)")->type_name("N");
  cli.add_option("--temperature", options.temperature, "0: the likeliest token always (default); above: drawn")->type_name("X");
  cli.add_option("--top-k", options.top_k, "Draw from the K likeliest tokens (0: all)")->type_name("K");
  cli.add_option("--top-p", options.top_p, "Draw from the likeliest tokens that have probability P together (1: all)")->type_name("P");
  cli.add_option("--min-p", options.min_p, "Draw from tokens at least P times as likely as the likeliest (0: all)")->type_name("P");
  cli.add_option("--repetition-penalty", options.repetition_penalty, "Above 1: tokens that were there become less likely (1)")
      ->type_name("X");
  cli.add_option("--seed", options.seed, "Of what is drawn (42)")->type_name("N");
  cli.add_option("--stop", options.stop, "End the text before this one, which may be a special token (repeatable)")
      ->type_name("TEXT")
      ->take_all()
      ->allow_extra_args(false);
  cli.add_option("--batch-size", request.batch_size, "Prompts at a time (8)")->type_name("N");
  cli.add_option("--output", request.output, "Write rows to this file, whole at the end (default: standard output)")->type_name("FILE");
  cli.footer(
      "EOS tokens are those of generation_config.json, else config.json, else the tokenizer; its sampling settings are not used.\n"
      "A prompt that names no adapter takes the first --adapter. On SIGINT or SIGTERM the rows that are done are written, whole.");
  return lora::tools::run(cli, argc, argv, [&request] { return lora::app::generate_command(request); });
}

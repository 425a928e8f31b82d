#include "lora/app/tokenize_command.h"
#include "tools/flags.h"

namespace tools = lora::tools;

int main(int argc, char** argv) {
  CLI::App cli{"Converts texts to token ids with a model's tokenizer, and back.", "lora-tokenize"};
  lora::app::TokenizeRequest request;
  tools::begin_group(cli, tools::group::kModel);
  cli.add_option(
         "--model", request.model,
         "Tokenizer: a model's folder or GGUF file, a tokenizer.json or tokenizer.model, or org/name in the local Hugging Face cache")
      ->type_name("PATH")
      ->required();
  tools::begin_group(cli, tools::group::kData);
  cli.add_option("--input", request.input,
                 "Rows of any format except features (with --decode: rows of \"input_ids\"), or - for standard input")
      ->type_name("FILE")
      ->required();
  cli.add_flag("--decode", request.decode, "Convert ids to text, with special tokens shown");
  cli.add_option("--train-on", request.train_on, "Tokens that the mask marks: completion, last_turn or all (default: completion)")
      ->type_name("WHAT");
  cli.add_flag("--add-generation-prompt", request.generation_prompt, "End messages with the generation prompt of the assistant's answer");
  cli.add_option("--chat-template", request.chat_template,
                 "Chat template of messages and instruction rows: a built-in name, a file, or a folder such as an adapter's "
                 "(default: the model's, for messages)")
      ->type_name("NAME");
  tools::add_text_flags(cli, request.documents, request.parse_special_tokens);
  tools::begin_group(cli, tools::group::kOutput);
  cli.add_option("--output", request.output, "File to write, with one row per input row (.jsonl)")->type_name("FILE")->required();
  tools::add_help_end(cli, "lora-tokenize --model base --input chat.jsonl --output ids.jsonl");
  request.surroundings = tools::surroundings();
  return lora::tools::run(cli, argc, argv, [&request] { return lora::app::tokenize_command(request); });
}

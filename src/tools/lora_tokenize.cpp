#include "flags.h"
#include "lora/app/tokenize_command.h"

int main(int argc, char** argv) {
  CLI::App cli{"Turns texts into the ids of a model's tokenizer, and back.", "lora-tokenize"};
  lora::app::TokenizeRequest request;
  cli.add_option("--model", request.model, "Folder of the model, its tokenizer.json or tokenizer.model, or org/name in the local cache")
      ->type_name("DIR")
      ->required();
  cli.add_option("--input", request.input, "Rows of any format but features (with --decode: \"input_ids\"), or - for standard input")
      ->type_name("F.jsonl")
      ->required();
  cli.add_option("--output", request.output, "File to write: a row for each row of the input")->type_name("O.jsonl")->required();
  cli.add_flag("--decode", request.decode, "From ids to text, special tokens shown");
  cli.add_option(
         "--chat-template", request.chat_template,
         "Of messages and instructions: a built-in name, a file or a folder, such as an adapter's (default: of messages the model's own)")
      ->type_name("NAME");
  cli.add_option("--documents", request.documents, "What a document of a .txt input is: line (default), paragraph or file")
      ->type_name("WHAT");
  cli.add_flag("--no-parse-special-tokens{false}", request.parse_special_tokens, "The text of special tokens in texts is plain text");
  cli.add_option("--train-on", request.train_on, "What the mask marks: completion (default), last_turn or all")->type_name("WHAT");
  cli.add_flag("--add-generation-prompt", request.generation_prompt, "Messages up to where the assistant's answer begins");
  request.surroundings = lora::tools::surroundings();
  return lora::tools::run(cli, argc, argv, [&request] { return lora::app::tokenize_command(request); });
}

#include "flags.h"
#include "lora/app/eval_command.h"

int main(int argc, char** argv) {
  CLI::App cli{
      "Evaluates a model, with or without adapters: loss, perplexity and token accuracy on a dataset, or the metrics of labelled texts.",
      "lora-eval"};
  lora::app::EvalRequest request;
  lora::tools::add_model_flags(cli, request.inference);
  cli.add_option("--data", request.source.path, "File, glob or - (standard input): .jsonl .json .csv .txt, each also .gz")
      ->type_name("FILE")
      ->required();
  cli.add_option("--format", request.format, "tokens, text, prompt_completion, instruction, messages, classification or features")
      ->type_name("NAME")
      ->required();
  cli.add_option("--objective", request.objective,
                 "What a TorchScript model is given rows for: causal_lm (default), sequence_classification, regression or module_loss")
      ->type_name("NAME");
  cli.add_option("--column", request.columns, "Another name of a field in the file, e.g. prompt=question (repeatable)")
      ->type_name("FIELD=COLUMN")
      ->take_all()
      ->allow_extra_args(false);
  cli.add_option("--limit", request.source.limit, "At most so many rows")->type_name("N")->check(lora::tools::whole_number(1));
  cli.add_option("--train-on", request.train_on, "Which tokens count: completion (default), last_turn (of messages) or all")
      ->type_name("WHAT");
  cli.add_option(
         "--chat-template", request.chat_template,
         "Of messages and instruction rows: a built-in name, model, none, a file or folder (default: the adapter's, else the model's)")
      ->type_name("NAME");
  cli.add_option("--documents", request.documents, "What a document of a .txt file is: line (default), paragraph or file")
      ->type_name("WHAT");
  cli.add_flag("--no-parse-special-tokens{false}", request.parse_special_tokens, "The text of special tokens in texts is plain text");
  cli.add_option("--batch-size", request.batch_size, "Documents at a time (default 8)")
      ->type_name("N")
      ->check(lora::tools::whole_number(1, 1 << 20));
  cli.add_flag("--compare-base", request.compare_base, "Evaluate the bare model too");
  cli.add_option("--token-logprobs", request.token_logprobs, "Write a row a document with each token's log-probability (.jsonl)")
      ->type_name("OUT");
  cli.add_option("--predictions", request.predictions,
                 "Write what a classifier or regression says of each row, in order; rows need no label (.jsonl)")
      ->type_name("OUT");
  cli.add_flag("--json", request.json, "Print JSON");
  return lora::tools::run(cli, argc, argv, [&request] { return lora::app::eval_command(request); });
}

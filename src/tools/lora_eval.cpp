#include "lora/app/eval_command.h"
#include "lora/data/rows.h"
#include "tools/flags.h"

namespace tools = lora::tools;

namespace {

void add_data_flags(CLI::App& cli, lora::app::EvalRequest& request) {
  tools::begin_group(cli, tools::group::kData);
  cli.add_option("--data", request.source.path,
                 "Rows: a file, a glob, or - for standard input (" + lora::data::file_endings() + "; each also .gz); or a folder of images")
      ->type_name("FILE")
      ->required();
  cli.add_option("--format", request.format,
                 "Format of the rows: tokens, text, prompt_completion, instruction, messages, classification, features, images or "
                 "diffusion_tensors")
      ->type_name("NAME")
      ->required();
  cli.add_option("--column", request.columns, "Column that holds a field, e.g. prompt=question (repeatable)")
      ->type_name("FIELD=COLUMN")
      ->take_all()
      ->allow_extra_args(false);
  cli.add_option("--limit", request.source.limit, "Read at most N rows (default: all)")->type_name("N")->check(tools::whole_number(1));
  cli.add_option("--train-on", request.train_on, "Tokens to score: completion, last_turn (of messages) or all (default: completion)")
      ->type_name("WHAT");
  tools::add_chat_template_flag(cli, request.chat_template, "messages and instruction rows");
  tools::add_text_flags(cli, request.documents, request.parse_special_tokens);
  cli.add_option("--resolution", request.resolution,
                 "Images: resize them to the area of a square with a side of N pixels (default: the model's)")
      ->type_name("N")
      ->check(tools::whole_number(8, 1 << 14));
  cli.add_option("--cache-dir", request.cache_dir, "Images: keep what the encoders compute in this folder (default: a temporary folder)")
      ->type_name("DIR");
  cli.add_option("--clip-skip", request.inference.clip_skip,
                 "Images: layer of the CLIP encoders whose states are used, as model.clip_skip of the run (default: 1)")
      ->type_name("N");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App cli{
      "Evaluates a model, with or without adapters: loss, perplexity and token accuracy of a dataset, or the metrics of labelled texts.",
      "lora-eval"};
  lora::app::EvalRequest request;
  tools::add_model_flags(cli, request.inference);
  cli.add_option("--objective", request.objective,
                 "Objective that the model was trained for: causal_lm, sequence_classification, regression or module_loss "
                 "(default: causal_lm)")
      ->type_name("NAME");
  add_data_flags(cli, request);
  tools::begin_group(cli, tools::group::kEvaluation);
  cli.add_option("--batch-size", request.batch_size, "Documents per batch (default: 8)")
      ->type_name("N")
      ->check(tools::whole_number(1, 1 << 20));
  cli.add_flag("--compare-base", request.compare_base, "Also evaluate the base model without adapters");
  tools::begin_group(cli, tools::group::kOutput);
  cli.add_option("--token-logprobs", request.token_logprobs, "Write each token's log-probability, one row per document (.jsonl)")
      ->type_name("FILE");
  cli.add_option("--predictions", request.predictions,
                 "Write the prediction of a classifier or regression for each row, in order; rows need no label (.jsonl)")
      ->type_name("FILE");
  cli.add_flag("--json", request.json, "Print results as JSON");
  tools::add_help_end(cli, "lora-eval --model base --adapter runs/first --data eval.jsonl --format messages --compare-base");
  return lora::tools::run(cli, argc, argv, [&request] { return lora::app::eval_command(request); });
}

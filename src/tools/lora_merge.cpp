#include "flags.h"
#include "lora/app/merge_command.h"

namespace {

void add_combine_flags(CLI::App& cli, lora::app::MergeRequest& request) {
  std::string methods;
  for (const std::string& method : lora::peft::combine_methods()) {
    methods += " " + method;
  }
  auto* combine = cli.add_option("--combine", request.combine, "One adapter from several, without a model:" + methods)->type_name("METHOD");
  const auto add = [&](const char* name, auto& value, const char* help) { cli.add_option(name, value, help)->needs(combine); };
  add("--density", request.combination.density, "Share of the values that pruning keeps, above 0, at most 1");
  add("--svd-rank", request.combination.svd_rank, "Rank of the svd methods (default: the adapters' largest)");
  add("--majority-sign-method", request.majority_sign_method, "total (default) or frequency");
  add("--seed", request.combination.seed, "Of the dare methods (default 42)");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App cli{"Merges adapters into their base model, takes them out again, or combines them into one.", "lora-merge"};
  lora::app::MergeRequest request;
  cli.add_option("--model", request.model, "Folder of the base model, org/name in the local Hugging Face cache, or a TorchScript file")
      ->type_name("DIR");
  cli.add_flag("--trust-torchscript", request.trust_torchscript, "Run the code of a TorchScript --model: it is a program, not data");
  cli.add_option("--inputs", request.inputs, "For --verify of it: batch fields in the order of its arguments")
      ->type_name("FIELD")
      ->delimiter(',');
  cli.add_option("--output-field", request.output_field, "For --verify of it: key or index of its logits")->type_name("KEY");
  cli.add_option("--adapter", request.adapters, "Adapter folder (repeatable)")->type_name("DIR")->allow_extra_args(false);
  cli.add_option("--weight", request.weights, "Factor of an adapter, in the order of --adapter (default: 1 each)")->allow_extra_args(false);
  cli.add_option("--output", request.output, "Folder to write; for a TorchScript --model a .pt file")->type_name("DIR")->required();
  cli.add_flag("--overwrite", request.overwrite, "Replace the output folder if it holds a model or an adapter");
  cli.add_flag("--allow-other-base", request.allow_other_base, "Use an adapter on a base that it was not trained on");
  cli.add_option("--dtype", request.dtype, "auto (each tensor's own), float32, bfloat16 or float16")->type_name("DTYPE");
  cli.add_option("--max-shard-size", request.max_shard_size, "Default 5GB")->type_name("SIZE")->transform(CLI::AsSizeValue(true));
  cli.add_flag("--unmerge", request.unmerge, "Take the adapters out of a merged --model");
  cli.add_flag("--verify", request.verify, "Run both models, print how far their logits differ, fail above a tolerance");
  cli.add_option("--tolerance", request.tolerance, "Of --verify, as a share of the largest logit (default: by the dtype)");
  cli.add_option("--data", request.data, "Rows for --verify (default: random tokens)")->type_name("FILE");
  cli.add_option("--format", request.format, "Format of --data: tokens (default), text, …")->type_name("NAME");
  cli.add_option("--documents", request.documents, "What a document of a .txt --data is: line (default), paragraph or file")
      ->type_name("WHAT");
  cli.add_option("--device", request.device, "For --verify: auto, cpu, cuda or cuda:N")->type_name("DEVICE");
  add_combine_flags(cli, request);
  request.surroundings = lora::tools::surroundings();
  return lora::tools::run(cli, argc, argv, [&request] { return lora::app::merge_command(request); });
}

#include "lora/app/merge_command.h"
#include "lora/base/text.h"
#include "tools/flags.h"

namespace tools = lora::tools;

namespace {

void add_input_flags(CLI::App& cli, lora::app::MergeRequest& request) {
  tools::begin_group(cli, tools::group::kModel);
  cli.add_option("--model", request.model,
                 "Base model: a folder, a GGUF or TorchScript file, or org/name in the local Hugging Face cache. Packed weights are "
                 "dequantised.")
      ->type_name("PATH");
  cli.add_option("--base-as", request.base_as,
                 "For adapters trained on a quantised base: merge into the weights as they are in --model (float), or quantised and "
                 "dequantised as in training (quantized) (default: float)")
      ->type_name("NAME");
  tools::begin_group(cli, tools::group::kAdapters);
  cli.add_option("--adapter", request.adapters, "Adapter folder (repeatable)")->type_name("DIR")->allow_extra_args(false);
  cli.add_option("--weight", request.weights, "Weight of an adapter, in the order of --adapter (repeatable; default: 1)")
      ->type_name("X")
      ->allow_extra_args(false);
  cli.add_flag("--unmerge", request.unmerge, "Subtract the adapters from a merged --model");
  tools::add_other_base_flag(cli, request.allow_other_base);
}

void add_combine_flags(CLI::App& cli, lora::app::MergeRequest& request) {
  tools::begin_group(cli, tools::group::kCombination);
  auto* combine = cli.add_option("--combine", request.combine,
                                 "Combine several adapters into one, without a model: " + lora::join(lora::peft::combine_methods()))
                      ->type_name("METHOD");
  const auto add = [&](const char* name, auto& value, const char* type, const char* help) {
    cli.add_option(name, value, help)->type_name(type)->needs(combine);
  };
  add("--density", request.combination.density, "X", "Fraction of the values that pruning keeps, above 0 and at most 1");
  add("--svd-rank", request.combination.svd_rank, "R", "Rank for the svd methods (default: the largest rank of the adapters)");
  add("--majority-sign-method", request.majority_sign_method, "NAME",
      "Sign election of the ties methods: total or frequency (default: total)");
  add("--seed", request.combination.seed, "N", "Seed for the dare methods (default: 42)");
}

void add_verify_flags(CLI::App& cli, lora::app::MergeRequest& request) {
  tools::begin_group(cli, tools::group::kVerification);
  cli.add_flag("--verify", request.verify, "Run both models, print how far their logits differ, and fail above the tolerance");
  cli.add_option("--tolerance", request.tolerance, "Largest difference, as a fraction of the largest logit (default: by the dtype)")
      ->type_name("X");
  cli.add_option("--data", request.data, "Rows to run the models on (default: random tokens)")->type_name("FILE");
  cli.add_option("--format", request.format, "Format of the rows, such as text or messages (default: tokens)")->type_name("NAME");
  tools::add_documents_flag(cli, request.documents);
  cli.add_option("--device", request.device, "Device: auto (a GPU if there is one), cpu, cuda or cuda:N (default: auto)")
      ->type_name("DEVICE");
  tools::begin_group(cli, tools::group::kTorchScript);
  tools::add_trust_flag(cli, request.trust_torchscript);
  tools::add_script_flags(cli, request.inputs, request.output_field);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App cli{"Merges adapters into their base model, subtracts them again, or combines them into one adapter.", "lora-merge"};
  lora::app::MergeRequest request;
  add_input_flags(cli, request);
  add_combine_flags(cli, request);
  add_verify_flags(cli, request);
  tools::begin_group(cli, tools::group::kOutput);
  cli.add_option("--output", request.output, "Folder to write, or a .pt file for a TorchScript --model")->type_name("DIR")->required();
  cli.add_flag("--overwrite", request.overwrite, "Replace the output if it is a model or an adapter");
  cli.add_flag("--requantize", request.requantize,
               "Pack the result as the base was packed in training, or as it is in its files, and print how much of the update is lost");
  cli.add_option("--dtype", request.dtype, "Data type to write: auto (as in the base model), float32, bfloat16 or float16 (default: auto)")
      ->type_name("DTYPE");
  cli.add_option("--max-shard-size", request.max_shard_size, "Maximum size of a weights file, e.g. 500MB (default: 5GB)")
      ->transform(CLI::AsSizeValue(true).description(""))
      ->type_name("SIZE");
  tools::add_help_end(cli, "lora-merge --model base --adapter runs/first --output merged --verify");
  request.surroundings = tools::surroundings();
  return lora::tools::run(cli, argc, argv, [&request] { return lora::app::merge_command(request); });
}

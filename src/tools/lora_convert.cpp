#include "lora/app/convert_command.h"
#include "tools/flags.h"

namespace tools = lora::tools;

namespace {

void add_format_flags(CLI::App& cli, lora::app::ConvertRequest& request) {
  tools::begin_group(cli, tools::group::kConversion);
  cli.add_option("--from", request.from, "Format of --adapter: auto, peft, mlx, kohya or diffusers (default: auto)")->type_name("NAME");
  cli.add_option("--to", request.to,
                 "Format to write: peft, mlx, kohya, gguf, vllm or diffusers (default: peft with --rename, --bake, --resize or --extract)")
      ->type_name("NAME");
  cli.add_flag("--drop-unsupported", request.drop_unsupported, "Leave out what the format cannot hold, with a warning");
  cli.add_option("--kohya-prefix", request.kohya_prefix, "Prefix of kohya module names, such as lora_te (default: lora_unet)")
      ->type_name("NAME");
  cli.add_option("--rename", request.renames,
                 "Replace every match of REGEX in module names; $1 is the first group (repeatable, applied in order)")
      ->type_name("REGEX=REPLACEMENT")
      ->take_all()
      ->allow_extra_args(false);
  cli.add_option("--quantize", request.quantize,
                 "Write --model in 4 or 8 bits, as transformers and bitsandbytes do: nf4, nf4-dq, fp4, fp4-dq (-dq: scales too) or int8")
      ->type_name("TYPE");
}

void add_rank_flags(CLI::App& cli, lora::app::ConvertRequest& request) {
  tools::begin_group(cli, tools::group::kRank);
  cli.add_flag("--bake", request.bake,
               "Approximate a DoRA or LoRA adapter by a plain LoRA of rank --r; with --to diffusers and no --r, only multiply lora_B by "
               "the scales");
  cli.add_option("--to-lora", request.to_lora, "Approximate an adapter of any method that changes weights by a plain LoRA of rank R")
      ->type_name("R")
      ->check(tools::whole_number(1));
  cli.add_option("--resize", request.resize, "Change the rank of every module to R, as closely as possible")
      ->type_name("R")
      ->check(tools::whole_number(1));
  cli.add_option("--r", request.r, "Rank for --bake and --extract")->type_name("R")->check(tools::whole_number(1));
  tools::begin_group(cli, tools::group::kExtraction);
  cli.add_flag("--extract", request.extract, "Create a LoRA of rank --r from the difference of two checkpoints");
  cli.add_option("--base", request.base, "Model before fine-tuning")->type_name("DIR");
  cli.add_option("--tuned", request.tuned, "Model after fine-tuning")->type_name("DIR");
  cli.add_option("--target-modules", request.target_modules, "Modules to extract, by name or end of name (default: all-linear)")
      ->type_name("NAME,...")
      ->delimiter(',');
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App cli{"Converts an adapter to another format or rank, creates one from two checkpoints, or quantises a model.", "lora-convert"};
  lora::app::ConvertRequest request;
  tools::begin_group(cli, tools::group::kModel);
  cli.add_option("--model", request.model,
                 "Base model: a folder or GGUF file; required for gguf (its config.json), --bake of DoRA and --to-lora (its weights) and "
                 "--quantize (the model to quantise)")
      ->type_name("PATH");
  tools::begin_group(cli, tools::group::kAdapters);
  cli.add_option("--adapter", request.adapter, "Adapter folder (PEFT, MLX) or file (kohya, diffusers)")->type_name("PATH");
  tools::add_other_base_flag(cli, request.allow_other_base);
  add_format_flags(cli, request);
  add_rank_flags(cli, request);
  tools::begin_group(cli, tools::group::kOutput);
  cli.add_option("--output", request.output, "Folder (peft, mlx, vllm, a model) or file (kohya, gguf, diffusers) to write")
      ->type_name("PATH")
      ->required();
  cli.add_flag("--overwrite", request.overwrite, "Replace the output if it exists");
  cli.add_option("--dtype", request.dtype,
                 "Data type to write: float32, float16 or bfloat16 (default: float32; with --quantize as in the model)")
      ->type_name("DTYPE");
  cli.add_option("--max-shard-size", request.max_shard_size, "Maximum size of a weights file of a model, e.g. 500MB (default: 5GB)")
      ->transform(CLI::AsSizeValue(true).description(""))
      ->type_name("SIZE");
  cli.add_flag("--json", request.json, "Print results as JSON");
  tools::add_help_end(cli, "lora-convert --adapter runs/first --model base --to gguf --output first.gguf");
  request.surroundings = tools::surroundings();
  return lora::tools::run(cli, argc, argv, [&request] { return lora::app::convert_command(request); });
}

#include "flags.h"
#include "lora/app/convert_command.h"

int main(int argc, char** argv) {
  CLI::App cli{"Converts an adapter to another format or rank, or makes one from two checkpoints.", "lora-convert"};
  lora::app::ConvertRequest request;
  cli.add_option("--adapter", request.adapter, "Adapter folder (PEFT, MLX) or file (kohya)")->type_name("PATH");
  cli.add_option("--from", request.from, "Its format: auto (default), peft, mlx or kohya")->type_name("NAME");
  cli.add_option("--to", request.to, "peft (default with --bake, --resize and --extract), mlx, kohya, gguf or vllm")->type_name("NAME");
  cli.add_option("--output", request.output, "Folder (peft, mlx, vllm) or file (kohya, gguf) to write")->type_name("PATH")->required();
  cli.add_flag("--overwrite", request.overwrite, "Replace an output that is there");
  cli.add_flag("--allow-other-base", request.allow_other_base, "Take a --model that the adapter was not trained on");
  cli.add_option("--model", request.model, "The base model: needed for gguf (config.json) and to bake DoRA (weights)")->type_name("DIR");
  cli.add_option("--dtype", request.dtype, "Of what is written: float32 (default), float16 or bfloat16")->type_name("DTYPE");
  cli.add_flag("--drop-unsupported", request.drop_unsupported, "Leave out, with a warning, what the format cannot hold");
  cli.add_option("--kohya-prefix", request.kohya_prefix, "Before kohya's module names: lora_unet (default), lora_te, lora_te1 …")
      ->type_name("NAME");
  cli.add_option("--rename", request.renames, "Rename modules: every match of REGEX in a name (repeatable, in order; $1 is a group)")
      ->type_name("REGEX=REPLACEMENT")
      ->take_all()
      ->allow_extra_args(false);
  cli.add_flag("--bake", request.bake, "Turn any adapter into plain LoRA of rank --r, as near as can be");
  cli.add_option("--resize", request.resize, "Change every module's rank, as near as can be")
      ->type_name("R")
      ->check(lora::tools::whole_number(1));
  cli.add_flag("--extract", request.extract, "Make a LoRA of rank --r from the difference of two checkpoints");
  cli.add_option("--r", request.r, "Rank of --bake and --extract")->type_name("R")->check(lora::tools::whole_number(1));
  cli.add_option("--base", request.base, "The model before its tuning")->type_name("DIR");
  cli.add_option("--tuned", request.tuned, "The model after it")->type_name("DIR");
  cli.add_option("--target-modules", request.target_modules, "Names or ends of names of the modules to extract (default: all-linear)")
      ->type_name("NAME,…")
      ->delimiter(',');
  cli.add_flag("--json", request.json, "Print JSON");
  request.surroundings = lora::tools::surroundings();
  return lora::tools::run(cli, argc, argv, [&request] { return lora::app::convert_command(request); });
}

#include "flags.h"

#include <cstdlib>

#include "lora/app/guard.h"
#include "lora/base/heap.h"
#include "lora/base/log.h"
#include "lora/nn/tensor_heap.h"

namespace lora::tools {

void add_model_flags(CLI::App& cli, app::InferenceRequest& request) {
  cli.add_option("--model", request.model, "Folder of the base model, or org/name of one in the local Hugging Face cache")
      ->type_name("DIR")
      ->required();
  cli.add_option("--adapter", request.adapters, "Adapter folder, or NAME=DIR (repeatable)")
      ->type_name("[NAME=]DIR")
      ->take_all()
      ->allow_extra_args(false);
  cli.add_flag("--allow-other-base", request.allow_other_base, "Use an adapter on a base that it was not trained on");
  cli.add_option("--tokenizer", request.tokenizer, "Folder or file of the tokenizer (default: the model's folder)")->type_name("PATH");
  cli.add_option("--dtype", request.dtype, "auto (the checkpoint's), float32, bfloat16 or float16")->type_name("DTYPE");
  cli.add_option("--device", request.device, "auto (a GPU where there is one), cpu, cuda or cuda:N")->type_name("DEVICE");
  cli.add_flag("--trust-torchscript", request.trust_torchscript, "Run the code of a TorchScript --model: it is a program, not data");
  cli.add_option("--inputs", request.inputs, "Batch fields in the order of a TorchScript model's arguments (default: by their names)")
      ->type_name("FIELD,...")
      ->delimiter(',');
  cli.add_option("--output-field", request.output, "Key or index of a TorchScript model's logits in its result")->type_name("KEY");
  request.surroundings = surroundings();
}

namespace {

/// oneDNN keeps each matrix product that it was asked for, by its shape, with its machine code: 1024 of them by default, of a megabyte or
/// so each, and batches of ever other lengths ask for ever other shapes. So many are those of one batch.
void bound_kernel_cache() {
  setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32", /*overwrite=*/0);
}

}  // namespace

int run(CLI::App& cli, int argc, char** argv, const std::function<int()>& command) {
  keep_freed_memory();
  nn::use_tensor_heap();
  bound_kernel_cache();
  bool quiet = false;
  cli.add_flag("--quiet", quiet, "Warnings and errors only");
  cli.set_version_flag("--version", std::string(app::version_text()));
  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return cli.exit(error) == 0 ? 0 : 2;
  }
  log::set_quiet(quiet);
  return app::guarded(command);
}

config::Surroundings surroundings() {
  return config::read_surroundings([](const char* name) -> const char* { return std::getenv(name); });
}

}  // namespace lora::tools

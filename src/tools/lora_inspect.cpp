#include "lora/app/inspect_command.h"
#include "tools/flags.h"

namespace tools = lora::tools;

int main(int argc, char** argv) {
  CLI::App cli{"Shows what an adapter, model, checkpoint or run contains, without loading a model.", "lora-inspect"};
  lora::app::InspectRequest request;
  tools::begin_group(cli, tools::group::kModel);
  cli.add_option("path", request.path, "Folder of an adapter, model, checkpoint or run, or a GGUF, .safetensors or TorchScript file")
      ->type_name("PATH")
      ->required();
  tools::begin_group(cli, tools::group::kAdapters);
  cli.add_option("--diff", request.other, "Another adapter, to show how it differs from the one at PATH")->type_name("PATH");
  tools::begin_group(cli, tools::group::kOutput);
  cli.add_flag("--json", request.json, "Print results as JSON");
  tools::begin_group(cli, tools::group::kTorchScript);
  cli.add_flag("--trust-torchscript", request.trust_torchscript, "Load a TorchScript file, which runs its code, and show its weights");
  tools::add_help_end(cli, "lora-inspect runs/first");
  return lora::tools::run(cli, argc, argv, [&request] { return lora::app::inspect_command(request); });
}

#include "flags.h"
#include "lora/app/inspect_command.h"

int main(int argc, char** argv) {
  CLI::App cli{"Shows what an adapter, model, checkpoint or run is, without loading a model.", "lora-inspect"};
  lora::app::InspectRequest request;
  cli.add_option("path", request.path, "Folder of an adapter, model, checkpoint or run, a .safetensors file, or a TorchScript file")
      ->type_name("PATH")
      ->required();
  cli.add_option("--diff", request.other, "Another adapter: how it differs from the one at PATH")->type_name("OTHER");
  cli.add_flag("--trust-torchscript", request.trust_torchscript, "Load a TorchScript file, which runs its code, and show its weights");
  cli.add_flag("--json", request.json, "Print JSON");
  return lora::tools::run(cli, argc, argv, [&request] { return lora::app::inspect_command(request); });
}

#include "flags.h"
#include "lora/app/train_command.h"

int main(int argc, char** argv) {
  CLI::App cli{"Trains a LoRA adapter on a pretrained model, as one JSON file says.", "lora-train"};
  lora::app::TrainRequest request;
  auto* config = cli.add_option("--config", request.config, "The run's JSON file")->type_name("FILE");
  cli.add_option("--set", request.overrides, "Override a key, e.g. training.learning_rate=1e-4 (repeatable)")
      ->type_name("KEY=VALUE")
      ->take_all()
      ->allow_extra_args(false);
  cli.add_option("--resume", request.resume, "auto (default), never, or a checkpoint folder")->type_name("WHEN");
  cli.add_flag("--overwrite", request.overwrite, "Remove another run's files from output_dir");
  cli.add_flag("--allow-other-base", request.allow_other_base, "Start adapter.init_from on a base that it was not trained on");
  cli.add_flag("--dry-run", request.dry_run, "Load and check everything, show modules and samples, and stop");
  cli.add_flag("--print-config", request.print_config, "Print the resolved config and stop");
  auto* schema = cli.add_flag("--print-schema", request.print_schema, "Print the config's JSON Schema and stop");
  cli.callback([config, schema] {
    if (config->empty() && schema->empty()) {
      throw CLI::RequiredError("--config");
    }
  });
  request.surroundings = lora::tools::surroundings();
  return lora::tools::run(cli, argc, argv, [&request] { return lora::app::train_command(request); });
}

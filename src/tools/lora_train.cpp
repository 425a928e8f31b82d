#include "flags.h"
#include "lora/app/train_command.h"

namespace tools = lora::tools;

int main(int argc, char** argv) {
  CLI::App cli{"Trains LoRA adapters on a pretrained model, configured by one JSON file.", "lora-train"};
  lora::app::TrainRequest request;
  tools::begin_group(cli, tools::group::kConfiguration);
  auto* config = cli.add_option("--config", request.config, "Config file (JSON)")->type_name("FILE");
  cli.add_option("--set", request.overrides, "Override a config key, e.g. training.learning_rate=1e-4 (repeatable)")
      ->type_name("KEY=VALUE")
      ->take_all()
      ->allow_extra_args(false);
  cli.add_flag("--print-config", request.print_config, "Print the resolved config and exit");
  auto* schema = cli.add_flag("--print-schema", request.print_schema, "Print the JSON Schema of the config and exit");
  tools::begin_group(cli, tools::group::kAdapters);
  cli.add_flag("--allow-other-base", request.allow_other_base, "Accept an adapter.init_from that was trained on another base model");
  tools::begin_group(cli, tools::group::kRun);
  cli.add_option("--resume", request.resume,
                 "Resume from the newest checkpoint of this run (auto), from a checkpoint folder, or never (default: auto)")
      ->type_name("WHEN");
  cli.add_flag("--dry-run", request.dry_run, "Load and check everything, show the target modules and sample rows, and exit");
  tools::begin_group(cli, tools::group::kOutput);
  cli.add_flag("--overwrite", request.overwrite, "Remove another run's files from output_dir");
  tools::add_help_end(cli, "lora-train --config run.json --set training.learning_rate=1e-4");
  cli.callback([config, schema] {
    if (config->empty() && schema->empty()) {
      throw CLI::RequiredError("--config");
    }
  });
  request.surroundings = tools::surroundings();
  return lora::tools::run(cli, argc, argv, [&request] { return lora::app::train_command(request); });
}

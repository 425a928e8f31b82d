#include "lora/app/init_command.h"
#include "lora/app/train_command.h"
#include "tools/flags.h"

namespace tools = lora::tools;

namespace {

void add_init_flags(CLI::App& cli, lora::app::InitRequest& request) {
  const auto take = [&request](const std::pair<std::string, std::string>& inputs) {
    request.model = inputs.first;
    request.data = inputs.second;
  };
  tools::begin_group(cli, tools::group::kGettingStarted);
  cli.add_option_function<std::pair<std::string, std::string>>(
         "--init", take,
         "Write a first config for a model folder and a file of rows, or a pipeline and a folder of images, and explain each value")
      ->type_name("MODEL DATA");
  cli.add_option("--output", request.output, "Config file that --init creates (default: run.json)")->type_name("FILE");
}

/// Flags that look for settings.
void add_search_flags(CLI::App& cli, lora::app::TrainRequest& request) {
  auto* sweep = cli.add_option("--sweep", request.sweeps,
                               "Train a run for each of these values, e.g. adapter.r=4,8,16 (repeatable: all combinations)")
                    ->type_name("KEY=VALUES")
                    ->take_all()
                    ->allow_extra_args(false);
  cli.add_flag("--sweep-halving", request.sweep_halving, "Stop the worse half of a sweep's runs early, again and again")->needs(sweep);
  cli.add_flag("--find-learning-rate", request.find_learning_rate,
               "Try growing learning rates for up to 100 steps, plot the loss, suggest a rate, and exit")
      ->excludes(sweep);
}

/// --init goes with --output and --quiet only, and --output with --init only.
void require_init_flags(const CLI::App& cli) {
  const bool is_init = !cli["--init"]->empty();
  if (!is_init && !cli["--output"]->empty()) {
    throw CLI::RequiresError("--output", "--init");
  }
  for (const CLI::Option* option : cli.get_options()) {
    const std::string name = option->get_name();
    if (is_init && !option->empty() && name != "--init" && name != "--output" && name != "--quiet") {
      throw CLI::ExcludesError("--init", name);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App cli{"Trains LoRA adapters on a pretrained model, configured by one JSON file.", "lora-train"};
  lora::app::TrainRequest request;
  lora::app::InitRequest init;
  add_init_flags(cli, init);
  tools::begin_group(cli, tools::group::kConfiguration);
  auto* config = cli.add_option("--config", request.config, "Config file (JSON)")->type_name("FILE");
  cli.add_option("--set", request.overrides, "Override a config key, e.g. training.learning_rate=1e-4 (repeatable)")
      ->type_name("KEY=VALUE")
      ->take_all()
      ->allow_extra_args(false);
  cli.add_flag("--print-config", request.print_config, "Print the resolved config and exit");
  auto* schema = cli.add_flag("--print-schema", request.print_schema, "Print the JSON Schema of the config and exit");
  add_search_flags(cli, request);
  tools::begin_group(cli, tools::group::kAdapters);
  cli.add_flag("--allow-other-base", request.allow_other_base, "Accept an adapter.init_from that was trained on another base model");
  tools::begin_group(cli, tools::group::kRun);
  cli.add_option("--resume", request.resume,
                 "Resume from the newest checkpoint of this run (auto), from a checkpoint folder, or never (default: auto)")
      ->type_name("WHEN")
      ->excludes("--find-learning-rate");
  cli.add_flag("--dry-run", request.dry_run, "Load and check everything, show the target modules and sample rows, and exit")
      ->excludes("--find-learning-rate");
  tools::begin_group(cli, tools::group::kOutput);
  cli.add_flag("--overwrite", request.overwrite, "Remove another run's files from output_dir")->excludes("--find-learning-rate");
  tools::add_help_end(cli, "lora-train --config run.json --set training.learning_rate=1e-4");
  cli.callback([&cli, config, schema] {
    require_init_flags(cli);
    if (config->empty() && schema->empty() && cli["--init"]->empty()) {
      throw CLI::RequiredError("--config");
    }
  });
  request.surroundings = init.surroundings = tools::surroundings();
  return lora::tools::run(cli, argc, argv,
                          [&] { return init.model.empty() ? lora::app::train_command(request) : lora::app::init_command(init); });
}

#include "app/find_learning_rate.h"

#include "app/data_start.h"
#include "app/line_plot.h"
#include "app/run_batches.h"
#include "app/run_series.h"
#include "app/run_stages.h"
#include "app/text_table.h"
#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/terminal.h"
#include "lora/train/learning_rate_range.h"

namespace lora::app {

namespace {

std::vector<train::RatePoint> test_range(const config::RunConfig& config, RunParts& parts, const train::RateRange& range) {
  const auto communicator = comm::make_single_process();
  const MemoryPlan memory = fit_into_memory(config, parts, {});
  config::RunConfig longer = config;
  longer.training.max_steps = range.steps;
  train::StepPlan steps = plan_steps(longer, parts.rows->train, memory.batch_size, *communicator);
  const std::vector<nn::Parameter>& parameters = parts.method->parameters();
  const auto optimizer = optim::make_optimizer(config.training.optimizer, parameters, range.last);
  train::StepRunner runner({*parts.objective, parts.rows->train, parameters, *communicator}, memory.execution, config.training.seed);
  return train::run_range_test(
      {*parts.objective, runner, parameters, *optimizer, *communicator, {}, parts.method->step_rule(steps.total_steps())}, config.training,
      steps, parts.base.model->dtype() == at::kHalf, range);
}

std::string csv_of(const std::vector<train::RatePoint>& points) {
  std::string text = "learning_rate,loss,smoothed_loss\n";
  for (const train::RatePoint& point : points) {
    text += short_number(point.learning_rate, 9) + "," + short_number(point.loss, 9) + "," + short_number(point.smoothed, 9) + "\n";
  }
  return text;
}

}  // namespace

void find_learning_rate(const config::RunConfig& config) {
  require_output_folder(config.output_dir);
  RunParts parts = load_run(config);
  if (parts.method == nullptr) {
    attach_from_data(config, parts, {});
  }
  const train::RateRange range;
  log::info("Training for at most " + std::to_string(range.steps) + " steps with learning rates from " + short_number(range.first) +
            " to " + short_number(range.last));
  const std::vector<train::RatePoint> points = test_range(config, parts, range);
  if (points.size() < 2) {
    model_error(config.model.name, "the loss is not finite at the lowest learning rate: found no curve. Check the model and the data.");
  }
  const std::optional<double> suggested = train::suggested_learning_rate(points);
  LinePlot plot{"learning rate", "smoothed loss", {}, {}, suggested.value_or(0)};
  for (const train::RatePoint& point : points) {
    plot.x.push_back(point.learning_rate);
    plot.y.push_back(point.smoothed);
  }
  make_writable_folder(config.output_dir);
  write_file_atomically(config.output_dir / "learning_rate.svg", svg_plot(plot));
  write_file_atomically(config.output_dir / "learning_rate.csv", csv_of(points));
  terminal::print(text_plot(plot));
  terminal::print(suggested ? "Suggested learning rate: " + short_number(*suggested, 2) + " (where the loss falls fastest)\n"
                            : "No suggestion: the loss does not fall at any of these rates\n");
  log::info("The curve is in " + (config.output_dir / "learning_rate.svg").string() + " and learning_rate.csv");
}

}  // namespace lora::app

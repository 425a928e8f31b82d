#include "config/schedule_arguments.h"

#include <algorithm>

#include "lora/base/text.h"

namespace lora::config {

namespace {

using optim::ScheduleKind;
using optim::ScheduleOptions;

std::vector<std::string> schedule_argument_names(ScheduleKind kind) {
  switch (kind) {
    case ScheduleKind::kCosine:
    case ScheduleKind::kCosineWithRestarts:
      return {"num_cycles"};
    case ScheduleKind::kPolynomial:
      return {"power", "lr_end"};
    case ScheduleKind::kInverseSqrt:
      return {"timescale"};
    case ScheduleKind::kWarmupStableDecay:
      return {"num_decay_steps", "num_stable_steps", "num_cycles", "min_lr_ratio", "warmup_type", "decay_type"};
    case ScheduleKind::kLinear:
    case ScheduleKind::kConstant:
    case ScheduleKind::kConstantWithWarmup:
      break;
  }
  return {};
}

void add_curves(Table<ScheduleOptions>& table) {
  table
      .value(
          "num_cycles", [](auto& o) -> auto& { return o.num_cycles; }, number({.from = 0}),
          "Number of waves; the default is 0.5 for cosine (a decay to 0) and warmup_stable_decay, and 1 for cosine_with_restarts.")
      .only_where_given()
      .example(0.5)
      .value(
          "power", [](auto& o) -> auto& { return o.power; }, number({.from = 0}), "Exponent of polynomial (default: 1).")
      .only_where_given()
      .example(2)
      .value(
          "lr_end", [](auto& o) -> auto& { return o.lr_end; }, number({.from = 0}), "Final learning rate of polynomial (default: 1e-7).")
      .only_where_given()
      .example(1e-6)
      .value(
          "timescale", [](auto& o) -> auto& { return o.timescale; }, integer(1),
          "Time scale of inverse_sqrt in steps (default: the warm-up steps, or 10000 without warm-up).")
      .only_where_given()
      .example(1000);
}

void add_warmup_stable_decay(Table<ScheduleOptions>& table) {
  table
      .value(
          "num_decay_steps", [](auto& o) -> auto& { return o.num_decay_steps; }, integer(0),
          "Number of steps in which warmup_stable_decay lowers the learning rate; that schedule requires it.")
      .only_where_given()
      .example(100)
      .value(
          "num_stable_steps", [](auto& o) -> auto& { return o.num_stable_steps; }, integer(0),
          "Number of steps between warm-up and decay of warmup_stable_decay (default: all remaining steps).")
      .only_where_given()
      .example(500)
      .value(
          "min_lr_ratio", [](auto& o) -> auto& { return o.min_lr_ratio; }, number({.from = 0, .to = 1}),
          "Lowest learning rate of warmup_stable_decay, as a share of learning_rate (default: 0).")
      .only_where_given()
      .example(0.1)
      .choice(
          "warmup_type", [](auto& o) -> auto& { return o.warmup_type; }, optim::kRamps,
          "Shape of the warm-up of warmup_stable_decay (default: linear).")
      .only_where_given()
      .example("cosine")
      .choice(
          "decay_type", [](auto& o) -> auto& { return o.decay_type; }, optim::kRamps,
          "Shape of the decay of warmup_stable_decay (default: cosine).")
      .only_where_given()
      .example("linear");
}

}  // namespace

const Table<ScheduleOptions>& schedule_table() {
  static const Table<ScheduleOptions> kTable = [] {
    Table<ScheduleOptions> table;
    add_curves(table);
    add_warmup_stable_decay(table);
    return table;
  }();
  return kTable;
}

void check_schedule_arguments(const ScheduleOptions& options, double learning_rate, const Json& given, const ConfigPlace& at) {
  const std::string name(optim::kSchedules.name(options.kind));
  const std::vector<std::string> known = schedule_argument_names(options.kind);
  const std::vector<std::string> all = schedule_table().keys();
  for (const auto& [key, value] : given.items()) {
    const bool is_argument = std::find(all.begin(), all.end(), key) != all.end();  // others have been reported
    if (is_argument && std::find(known.begin(), known.end(), key) == known.end()) {
      at.key(key).add("is not an argument of the schedule " + name + ", which takes " + (known.empty() ? "none" : join(known)));
    }
  }
  if (options.kind == ScheduleKind::kWarmupStableDecay && !given.contains("num_decay_steps")) {
    at.key("num_decay_steps").add("is missing, expected an integer >= 0: the schedule " + name + " requires it");
  }
  if (options.kind == ScheduleKind::kPolynomial && options.lr_end >= learning_rate) {
    at.key("lr_end").add("found " + number_json(options.lr_end).dump() + ", expected a number < learning_rate, which is " +
                         number_json(learning_rate).dump());
  }
}

}  // namespace lora::config

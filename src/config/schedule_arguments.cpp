#include "config/schedule_arguments.h"

#include <algorithm>

#include "lora/base/text.h"

namespace lora::config {

namespace {

using optim::ScheduleKind;
using optim::ScheduleOptions;

std::vector<std::string> arguments_of(ScheduleKind kind) {
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

}  // namespace

const Table<ScheduleOptions>& schedule_table() {
  static const Table<ScheduleOptions> kTable = [] {
    Table<ScheduleOptions> table;
    table
        .value(
            "num_cycles", [](auto& o) -> auto& { return o.num_cycles; }, number({.from = 0}),
            "Waves of cosine (0.5: down to 0), cosine_with_restarts (1) and warmup_stable_decay (0.5).")
        .only_where_given()
        .value(
            "power", [](auto& o) -> auto& { return o.power; }, number({.from = 0}), "polynomial: the exponent (1).")
        .only_where_given()
        .value(
            "lr_end", [](auto& o) -> auto& { return o.lr_end; }, number({.from = 0}), "polynomial: the learning rate at the end (1e-7).")
        .only_where_given()
        .value(
            "timescale", [](auto& o) -> auto& { return o.timescale; }, integer(1),
            "inverse_sqrt: the warm-up's steps, or 10000 without one.")
        .only_where_given()
        .value(
            "num_decay_steps", [](auto& o) -> auto& { return o.num_decay_steps; }, integer(0),
            "warmup_stable_decay: steps of the decay; needed there.")
        .only_where_given()
        .value(
            "num_stable_steps", [](auto& o) -> auto& { return o.num_stable_steps; }, integer(0),
            "warmup_stable_decay: steps between warm-up and decay; what they leave.")
        .only_where_given()
        .value(
            "min_lr_ratio", [](auto& o) -> auto& { return o.min_lr_ratio; }, number({.from = 0, .to = 1}),
            "warmup_stable_decay: the lowest share of the learning rate (0).")
        .only_where_given()
        .choice(
            "warmup_type", [](auto& o) -> auto& { return o.warmup_type; }, optim::kRamps,
            "warmup_stable_decay: shape of the warm-up (linear).")
        .only_where_given()
        .choice(
            "decay_type", [](auto& o) -> auto& { return o.decay_type; }, optim::kRamps, "warmup_stable_decay: shape of the decay (cosine).")
        .only_where_given();
    return table;
  }();
  return kTable;
}

void check_schedule_arguments(const ScheduleOptions& options, double learning_rate, const Json& given, const Place& at) {
  const std::string name(optim::kSchedules.name(options.kind));
  const std::vector<std::string> known = arguments_of(options.kind);
  const std::vector<std::string> all = schedule_table().keys();
  for (const auto& [key, value] : given.items()) {
    const bool is_argument = std::find(all.begin(), all.end(), key) != all.end();  // others have been reported
    if (is_argument && std::find(known.begin(), known.end(), key) == known.end()) {
      at.key(key).add("is no argument of the schedule " + name + ", which takes " + (known.empty() ? "none" : join(known)));
    }
  }
  if (options.kind == ScheduleKind::kWarmupStableDecay && !given.contains("num_decay_steps")) {
    at.key("num_decay_steps").add("is missing, expected an integer >= 0: the schedule " + name + " cannot do without it");
  }
  if (options.kind == ScheduleKind::kPolynomial && options.lr_end >= learning_rate) {
    at.key("lr_end").add("found " + number_json(options.lr_end).dump() + ", expected a number < learning_rate, which is " +
                         number_json(learning_rate).dump());
  }
}

}  // namespace lora::config

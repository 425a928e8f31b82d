#pragma once
#include <optional>

#include "config/findings.h"
#include "config/paths.h"
#include "lora/base/json.h"
#include "lora/data/options.h"
#include "lora/models/options.h"
#include "lora/peft/options.h"
#include "lora/train/options.h"

// One file a section. Each reads its section and gives its schema from the same table. What is wrong is said at the
// place; the options of a section with findings are not to be used.
namespace lora::config {

template <typename Options>
struct Section {
  Options options;
  Json resolved;  ///< every key with its value
};

Section<models::ModelOptions> read_model(const Json& section, const Place& at, const Context& context);
Json model_schema();

/// The weights' start: null for full fine-tuning, else the keys of a PEFT adapter_config.json and init_from.
Section<std::optional<peft::LoraOptions>> read_adapter(const Json& section, const Place& at, const Context& context);
Json adapter_schema();

Section<data::DataOptions> read_data(const Json& section, const Place& at, const Context& context);
Json data_schema();

/// What the rest of the config says that the training section must fit.
enum class EvalData { kNone, kSome, kUnclear };
Section<train::TrainOptions> read_training(const Json& section, const Place& at, EvalData eval_data);
Json training_schema();

}  // namespace lora::config

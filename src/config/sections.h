#pragma once
#include <optional>

#include "config/findings.h"
#include "config/paths.h"
#include "lora/base/json.h"
#include "lora/data/options.h"
#include "lora/models/options.h"
#include "lora/peft/method_options.h"
#include "lora/train/options.h"

// One file per section. Each reads its section and provides its schema from the same table. Errors are reported at the position of the
// value; the options of a section with findings must not be used.
namespace lora::config {

template <typename Options>
struct Section {
  Options options;
  Json resolved;  ///< every key with its value
};

Section<models::ModelOptions> read_model(const Json& section, const ConfigPlace& at, const Context& context);
Json model_schema();

/// The adapter: null for full fine-tuning, otherwise the keys of a PEFT adapter_config.json and init_from.
Section<peft::MethodOptions> read_adapter(const Json& section, const ConfigPlace& at, const Context& context);
Json adapter_schema();

Section<data::DataOptions> read_data(const Json& section, const ConfigPlace& at, const Context& context);
Json data_schema();

/// Whether the data section has evaluation rows, which some keys of the training section need.
enum class EvalData { kNone, kSome, kUnclear };
Section<train::TrainOptions> read_training(const Json& section, const ConfigPlace& at, EvalData eval_data, const Context& context);
Json training_schema();

}  // namespace lora::config

#include "config/formula_section.h"
#include "config/rule.h"

namespace lora::config {

void add_keys(Table<peft::LnTuningOptions>& table) {
  add_exclusion(table);
}

void add_keys(Table<peft::BitFitOptions>& table) {
  add_exclusion(table);
}

void add_keys(Table<peft::TrainableTokensOptions>& table) {
  const Rule rule = list_of(integer(0), 1);
  table
      .custom({"token_indices", "Ids of the tokens whose rows are trained.", rule.schema, Json::array(),
               [rule](const Json& value, peft::TrainableTokensOptions& options, const ConfigPlace& at) {
                 if (accept(rule, value, at)) {
                   options.token_indices = value.get<std::vector<int64_t>>();
                 }
               }})
      .example({128002, 128003})
      .custom(reserved_field<peft::TrainableTokensOptions>("init_weights", true));
}

void check_keys(const peft::TrainableTokensOptions& options, const ConfigPlace& at) {
  if (options.token_indices.empty() && at.sound({"token_indices"})) {
    at.key("token_indices").add("is missing: found no tokens to train, expected a list of ids");
  }
  if (options.layers_to_transform) {
    at.key("layers_to_transform").add("cannot be used with TRAINABLE_TOKENS: embeddings and head are in no layer");
  }
}

}  // namespace lora::config

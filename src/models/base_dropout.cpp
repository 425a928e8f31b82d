#include "models/base_dropout.h"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace lora::models {

namespace {

/// The names of the rates in transformers, for all families.
constexpr std::array<const char*, 13> kDropoutKeys{"attention_dropout",
                                                   "hidden_dropout",
                                                   "attn_pdrop",
                                                   "embd_pdrop",
                                                   "resid_pdrop",
                                                   "residual_dropout",
                                                   "hidden_dropout_prob",
                                                   "attention_probs_dropout_prob",
                                                   "dropout",
                                                   "embedding_dropout",
                                                   "mlp_dropout",
                                                   "classifier_dropout",
                                                   "seq_classif_dropout"};

}  // namespace

double read_dropout(const JsonReader& config, const std::string& key, double fallback) {
  if (std::find(kDropoutKeys.begin(), kDropoutKeys.end(), key) == kDropoutKeys.end()) {
    throw std::logic_error("not in kDropoutKeys: " + key);
  }
  const double rate = config.number(key, fallback);
  if (!(rate >= 0.0 && rate < 1.0)) {
    config.fail(key, "a number of at least 0 and below 1");
  }
  return rate;
}

Json with_base_dropout(Json config, double rate) {
  for (const char* key : kDropoutKeys) {
    config[key] = rate;
  }
  return config;
}

}  // namespace lora::models

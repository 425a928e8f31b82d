#pragma once
#include <string>
#include <vector>

#include "app/init_facts.h"
#include "lora/base/json.h"

namespace lora::app {

/// One key of the new config and why it has its value.
struct InitChoice {
  std::string key;  ///< "training.learning_rate"
  Json value;
  std::string reason;
};

/// A first config for a model and its rows.
struct InitPlan {
  Json config = Json::object();
  std::vector<InitChoice> choices;     ///< every key of the config, in its order
  std::vector<std::string> undecided;  ///< what cannot be decided from the files, one sentence each
};

/// Paths as the config file writes them.
struct InitPaths {
  std::string model;
  std::string data;
  std::string output_dir;
};

InitPlan choose_config(const ModelFacts& model, const RowFacts& rows, const InitPaths& paths);

}  // namespace lora::app

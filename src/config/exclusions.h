#pragma once
#include "config/findings.h"
#include "lora/config/run_config.h"

namespace lora::config {

/// Reports values that another choice of the config excludes: an objective, a way to train, or the kind of the base model. What excludes
/// what is one table. The runs are complete. `root` is the place of the whole file.
void check_exclusions(const RunList& list, const ConfigPlace& root);

}  // namespace lora::config

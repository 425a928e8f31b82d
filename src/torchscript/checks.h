#pragma once
#include "script_model.h"

namespace lora::torchscript {

/// Runs a small batch through the model and throws model Error where an adapter on it would not do what it should: the lowered
/// graph gives other bits than the module, its evaluation form is random, it changes its own tensors, a pair at a host does
/// not do what the change of its weight does, or no gradient comes back to it.
void check_network(ScriptModel& model);

/// Passes that the check of a module with so many tensors takes at most.
int64_t most_passes(int64_t num_tensors);

}  // namespace lora::torchscript

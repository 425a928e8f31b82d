#pragma once
#include "script_model.h"

namespace lora::torchscript {

/// Runs a small batch through the model and throws model Error where an adapter on it would not do what it should: the lowered
/// graph gives other bits than the module, its evaluation form is random, it changes its own tensors, a pair at a host does
/// not do what the change of its weight does, or no gradient comes back to it.
void check_network(ScriptModel& model);

/// Passes of the whole module that the check of a sound one takes at most, forward and backward.
constexpr int64_t kCheckPasses = 100;

}  // namespace lora::torchscript

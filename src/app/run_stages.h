#pragma once
#include "app/run_parts.h"

namespace lora::app {

/// Sets a run up, stage by stage: tokenizer, base model, rows, method, objective. An adapter that is initialised from data (EVA, CorDA,
/// LoRA-GA) is attached afterwards, by attach_from_data. Throws what the stages throw.
RunParts load_run(const config::RunConfig& config);

/// Replaces the adapter and the objective of one run by those of another, which differs in nothing but keys of adapter and training. Loads
/// the base model again if the previous adapter changed it, and everything if another seed gives other rows or weights.
void switch_run(const config::RunConfig& previous, const config::RunConfig& config, RunParts& parts);

/// Attaches an adapter that is initialised from data as it is before its data are looked at, for a report.
void attach_initial_ranks(const config::RunConfig& config, RunParts& parts);

/// Throws what attaching the run's adapter would throw for its choice of modules.
void require_attachable(const config::RunConfig& config, RunParts& parts);

/// The run's adapter options with the additions of its task.
peft::MethodOptions adapter_options(const config::RunConfig& config, const models::BaseModel& base);

/// The description of the base model that the run's adapter stores.
peft::BaseReference base_reference(const config::RunConfig& config, const models::BaseModel& base, const data::LabelSet* labels);

/// Whether the run's adapter gets its initial values from the training data.
bool starts_from_data(const config::RunConfig& config);

}  // namespace lora::app

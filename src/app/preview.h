#pragma once
#include <string>

#include "lora/data/dataset.h"
#include "lora/peft/method.h"
#include "lora/tokenizer/tokenizer.h"

namespace lora::app {

/// The report of --dry-run: the matched modules, grouped by pattern with their number, and the first `count` samples, decoded (without a
/// tokenizer: as ids). Supervised tokens are coloured if `colour`, else between ⟦ and ⟧. `labels` is null if the rows have tokens to
/// predict.
std::string dry_run_report(const peft::Method& method, const data::Dataset& train, const data::LabelSet* labels,
                           const tokenizer::Tokenizer* tokenizer, bool colour, size_t count = 3);

}  // namespace lora::app

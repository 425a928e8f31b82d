#pragma once
#include <string>

#include "lora/data/dataset.h"
#include "lora/peft/method.h"
#include "lora/tokenizer/tokenizer.h"

namespace lora::app {

/// `--dry-run`: every matched module, and the first `count` samples decoded with the supervised part marked: coloured
/// where `colour`, else between ⟦ and ⟧. Without a tokenizer the ids are shown.
std::string dry_run_report(const peft::Method& method, const data::Dataset& train, const tokenizer::Tokenizer* tokenizer, bool colour,
                           size_t count = 3);

}  // namespace lora::app

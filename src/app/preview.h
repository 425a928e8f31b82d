#pragma once
#include <string>

#include "lora/data/dataset.h"
#include "lora/peft/method.h"
#include "lora/tokenizer/tokenizer.h"

namespace lora::app {

/// `--dry-run`: the matched modules, those of all layers as one pattern with their number, and the first `count` samples decoded with the
/// supervised part marked: coloured where `colour`, else between ⟦ and ⟧. Without a tokenizer the ids are shown. `labels`: null where
/// tokens are learnt.
std::string dry_run_report(const peft::Method& method, const data::Dataset& train, const data::LabelSet* labels,
                           const tokenizer::Tokenizer* tokenizer, bool colour, size_t count = 3);

}  // namespace lora::app

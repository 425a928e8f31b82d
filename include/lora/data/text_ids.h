#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lora/tokenizer/tokenizer.h"

namespace lora::data {

/// How a text that a user wrote becomes ids, in rows and in prompts: one rule for every program.
struct TextRule {
  const tokenizer::Tokenizer& tokenizer;
  /// The text of a special token stands for that token, as in transformers; otherwise it is plain characters.
  bool parse_special_tokens = true;
};

/// The text alone, with nothing around it. Throws data Error if it is not valid UTF-8.
std::vector<int32_t> text_ids(const std::string& text, const TextRule& rule);

/// The text as the start of a document: BOS where the tokenizer puts one, no EOS. A BOS that is written in the text is one more,
/// as in transformers; that is warned of once, naming `where`.
std::vector<int32_t> prompt_ids(const std::string& text, const TextRule& rule, const std::string& where);

/// The text as a whole document: prompt_ids, then EOS where the tokenizer puts one, and with `append_eos` unless `last`, the part of
/// the text that comes last (a completion; the text itself), ends with it already, as TRL decides it.
std::vector<int32_t> document_ids(const std::string& text, const std::string& last, const TextRule& rule, bool append_eos,
                                  const std::string& where);

}  // namespace lora::data

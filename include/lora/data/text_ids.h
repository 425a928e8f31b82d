#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lora/tokenizer/tokenizer.h"

namespace lora::data {

/// How text of users becomes ids, in rows and prompts: the same rule in every program.
struct TextRule {
  const tokenizer::Tokenizer& tokenizer;
  /// The text of a special token becomes that token, as in transformers; otherwise it is plain text.
  bool parse_special_tokens = true;
};

/// Ids of the text without BOS or EOS. Throws data Error if it is not valid UTF-8.
std::vector<int32_t> text_ids(const std::string& text, const TextRule& rule);

/// The text as the start of a document: with BOS if the tokenizer adds one, without EOS. A BOS written in the text is an additional one,
/// as in transformers; the first such text causes a warning naming `where`.
std::vector<int32_t> prompt_ids(const std::string& text, const TextRule& rule, const std::string& where);

/// The text as a whole document: prompt_ids, then EOS if the tokenizer adds one; with `append_eos` also unless `last`, the final part of
/// the text (a completion; the text itself), already ends with it, as in TRL.
std::vector<int32_t> document_ids(const std::string& text, const std::string& last, const TextRule& rule, bool append_eos,
                                  const std::string& where);

}  // namespace lora::data

#pragma once
#include <string>
#include <vector>

#include "lora/data/options.h"
#include "lora/tokenizer/chat_template.h"

namespace lora::data {

/// The spans of the assistant's turns in a conversation's text, in bytes and in order: of every turn, or of the last. `rendered`: the whole
/// conversation; `excluded`: for each message, whether it is excluded. Throws model Error naming `where` if the spans cannot be
/// determined.
std::vector<tokenizer::TextSpan> assistant_turns(const tokenizer::ChatTemplate& chat_template, const tokenizer::Conversation& conversation,
                                                 const tokenizer::RenderedChat& rendered, bool last_only, const std::vector<bool>& excluded,
                                                 const std::string& where);

/// The spans of a conversation's whole text without the assistant's turns that are excluded.
std::vector<tokenizer::TextSpan> all_but_excluded(const tokenizer::ChatTemplate& chat_template, const tokenizer::Conversation& conversation,
                                                  const tokenizer::RenderedChat& rendered, const std::vector<bool>& excluded,
                                                  const std::string& where);

}  // namespace lora::data

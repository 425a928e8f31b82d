#pragma once
#include <string>
#include <vector>

#include "lora/data/options.h"
#include "lora/tokenizer/chat_template.h"

namespace lora::data {

/// What the assistant says in a conversation's text, in bytes and in order: every turn, or the last. `rendered`: the whole
/// conversation; `unlearnt`: the messages, by their place, that are left out. Throws model Error naming `where` if the template does not
/// show it.
std::vector<tokenizer::TextSpan> assistant_turns(const tokenizer::ChatTemplate& chat_template, const tokenizer::Conversation& conversation,
                                                 const tokenizer::RenderedChat& rendered, bool last_only, const std::vector<bool>& unlearnt,
                                                 const std::string& where);

/// The spans of a conversation's whole text without the turns of the assistant that are left out.
std::vector<tokenizer::TextSpan> all_but_unlearnt(const tokenizer::ChatTemplate& chat_template, const tokenizer::Conversation& conversation,
                                                  const tokenizer::RenderedChat& rendered, const std::vector<bool>& unlearnt,
                                                  const std::string& where);

}  // namespace lora::data

#pragma once
#include <string>
#include <vector>

#include "data/fields.h"
#include "lora/tokenizer/chat_template.h"

namespace lora::data {

/// A row's conversation, in the names that chat templates know.
struct ChatRow {
  tokenizer::Conversation conversation;
  std::vector<bool> unlearnt;  ///< of each message: whether the row says that the assistant's turn is not to be learnt
};

/// Whether a row has messages, under OpenAI's or ShareGPT's name.
bool has_conversation(const Fields& fields);

/// Reads "messages" (or ShareGPT's "conversations", of "from" and "value"), "system", "tools" (or "functions") and
/// "chat_template_kwargs". Roles that `chat_template` does not name itself get their usual name ("human": "user"). Throws data Error
/// for a role that nobody knows, and for what a message says about learning it that cannot be followed.
ChatRow read_conversation(const Fields& fields, const tokenizer::ChatTemplate& chat_template);

}  // namespace lora::data

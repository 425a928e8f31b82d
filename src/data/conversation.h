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

/// A prompt_completion row in TRL's conversational form.
struct MessagePair {
  tokenizer::Conversation prompt;
  ChatRow whole;  ///< the prompt's messages, then the completion's
};

/// Whether "prompt" or "completion" is a list of messages. Text that holds such a list is text, as in TRL.
bool has_message_pair(const Fields& fields);

/// Reads "prompt" and "completion", and the columns that read_conversation reads. Throws data Error, as that does, and where one
/// of the two is no list of messages.
MessagePair read_message_pair(const Fields& fields, const tokenizer::ChatTemplate& chat_template);

/// Reads only the prompt of such a row.
tokenizer::Conversation read_prompt_messages(const Fields& fields, const tokenizer::ChatTemplate& chat_template);

/// An instruction row as messages up to the user's turn: "system", the turns of "history", "instruction" with "input".
Json instruction_messages(const Fields& fields);

/// An instruction row as Stanford Alpaca's prompt. Throws data Error for a "system" or a "history", which it cannot express.
std::string alpaca_prompt(const Fields& fields);

}  // namespace lora::data

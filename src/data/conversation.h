#pragma once
#include <string>
#include <vector>

#include "data/fields.h"
#include "lora/tokenizer/chat_template.h"

namespace lora::data {

/// A row's conversation, with the names that chat templates use.
struct ChatRow {
  tokenizer::Conversation conversation;
  std::vector<bool> excluded;  ///< for each message, whether the row excludes it from the loss
};

/// Whether a row has messages, in the column of OpenAI's or of ShareGPT's format.
bool has_conversation(const Fields& fields);

/// Reads "messages" (or ShareGPT's "conversations", of "from" and "value"), "system", "tools" (or "functions") and
/// "chat_template_kwargs". Roles that `chat_template` does not name get their usual name ("human": "user"). Throws data Error for an
/// unknown role, and for an unsupported loss weight of a message.
ChatRow read_conversation(const Fields& fields, const tokenizer::ChatTemplate& chat_template);

/// A prompt_completion row in TRL's conversational form.
struct MessagePair {
  tokenizer::Conversation prompt;
  ChatRow whole;  ///< the prompt's messages, then the completion's
};

/// Whether "prompt" or "completion" is a list of messages. A string that contains such a list is text, as in TRL.
bool has_message_pair(const Fields& fields);

/// Reads "prompt" and "completion", and the columns that read_conversation reads. Throws data Error as that does, and if one of the
/// two is not a list of messages.
MessagePair read_message_pair(const Fields& fields, const tokenizer::ChatTemplate& chat_template);

/// Reads only the prompt of such a row.
tokenizer::Conversation read_prompt_messages(const Fields& fields, const tokenizer::ChatTemplate& chat_template);

/// An instruction row as messages, without the answer: "system", the turns of "history", "instruction" with "input".
Json instruction_messages(const Fields& fields);

/// The prompt of an instruction row in Stanford Alpaca's format. Throws data Error for "system" and "history", which that format cannot
/// express.
std::string alpaca_prompt(const Fields& fields);

}  // namespace lora::data

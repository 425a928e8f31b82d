#include <algorithm>
#include <atomic>

#include "data/conversation.h"
#include "data/formats.h"
#include "data/ignore_label.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/nn/batch.h"

namespace lora::data {
namespace {

EncodedDocument document_of(const EncodedChat& chat) {
  EncodedDocument document{chat.ids, std::vector<int32_t>(chat.ids.size(), kIgnore)};
  for (size_t i = 0; i < chat.ids.size(); ++i) {
    document.labels[i] = chat.mask[i] ? chat.ids[i] : kIgnore;
  }
  return document;
}

// EOS is appended to a conversation only if its last turn is supervised and contains no special token.
EncodedDocument encode_conversation(const ChatRow& row, const Fields& fields, const FormatContext& context) {
  const EncodedChat chat = context.chat->encode(row.conversation, context.train_on, fields.origin(), row.excluded);
  EncodedDocument document = document_of(chat);
  const auto eos = context.tokenizer->eos_id();
  const auto is_end = [&](size_t i) { return context.tokenizer->is_special(chat.ids[i]) || chat.ids[i] == eos; };
  const bool wants_eos = context.append_eos || context.tokenizer->add_eos();
  bool open_ended = wants_eos && eos && !chat.ids.empty() && chat.mask.back();
  for (size_t i = chat.ids.size(); open_ended && i-- > 0 && chat.mask[i];) {
    open_ended = !is_end(i);
  }
  if (open_ended) {
    document.ids.push_back(*eos);
    document.labels.push_back(*eos);
  }
  return document;
}

void warn_of_other_prompt(const std::vector<int32_t>& lost, const FormatContext& context, const std::string& where) {
  static std::atomic<bool> warned = false;
  if (!warned.exchange(true)) {
    log::warn("[" + where + "] the prompt is written differently when the completion follows it: the end of the prompt by itself, '" +
              printable(context.tokenizer->decode(lost, /*show_special=*/true), 50) +
              "', is not in the training text. As in TRL, the completion begins where the two differ (reported once)");
  }
}

}  // namespace

bool is_left_out(const Fields& fields) {
  if (!fields.has("weight")) {
    return false;
  }
  const Json weight = fields.json("weight");
  if (weight != 0 && weight != 1) {
    fields.fail("weight", "found " + shown(weight) +
                              ", expected 0 or 1. How often a file's rows are used is the \"weight\" of its entry in data.train.");
  }
  return weight == 0;
}

EncodedContent encode_messages(const Fields& fields, const FormatContext& context) {
  EncodedDocument document = encode_conversation(read_conversation(fields, context.chat->chat_template()), fields, context);
  if (is_left_out(fields)) {
    std::fill(document.labels.begin(), document.labels.end(), kIgnore);
  }
  return one_document(std::move(document));
}

EncodedContent encode_instruction_chat(const Fields& fields, const FormatContext& context) {
  Json messages = instruction_messages(fields);
  messages.push_back({{"role", "assistant"}, {"content", fields.text("output")}});
  return one_document(encode_conversation({{std::move(messages), Json()}, {}}, fields, context));
}

namespace {

/// Turns of other roles in the completion are supervised as well, but only one of the assistant can be excluded.
void require_only_assistant_excluded(const MessagePair& pair, const Fields& fields) {
  const Json& messages = pair.whole.conversation.messages;
  for (size_t i = pair.prompt.messages.size(); i < std::min(messages.size(), pair.whole.excluded.size()); ++i) {
    const Json role = messages[i].value("role", Json());
    if (pair.whole.excluded[i] && role != "assistant") {
      fields.fail("completion", "excludes a turn of the role " + role.dump() + " from the loss, expected a turn of the assistant");
    }
  }
}

}  // namespace

// No EOS is added, as in TRL: the template ends the turns. Everything after the prompt is the completion, whatever its roles.
EncodedContent encode_message_pair(const Fields& fields, const FormatContext& context) {
  if (context.chat == nullptr) {
    fields.fail(fields.value("prompt").is_array() ? "prompt" : "completion",
                "found messages, which need a chat template, and there is none. Set data.chat_template (--chat-template in the other "
                "programs) to one of " +
                    join(tokenizer::builtin_chat_templates()) + ", or to a .jinja file.");
  }
  const MessagePair pair = read_message_pair(fields, context.chat->chat_template());
  require_only_assistant_excluded(pair, fields);
  EncodedDocument document =
      document_of(context.chat->encode(pair.whole.conversation, TrainOn::kAll, fields.origin(), pair.whole.excluded));
  if (context.train_on != TrainOn::kAll) {
    const std::vector<int32_t> prompt = context.chat->prompt(pair.prompt, fields.origin()).ids;
    const auto border = std::mismatch(prompt.begin(), prompt.end(), document.ids.begin(), document.ids.end()).first;
    std::fill_n(document.labels.begin(), border - prompt.begin(), kIgnore);
    if (border != prompt.end()) {
      warn_of_other_prompt({border, prompt.end()}, context, fields.origin());
    }
  }
  if (is_left_out(fields)) {
    std::fill(document.labels.begin(), document.labels.end(), kIgnore);
  }
  EncodedContent row = one_document(std::move(document));
  row.is_message_pair = true;
  return row;
}

}  // namespace lora::data

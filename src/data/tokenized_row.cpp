#include "lora/data/tokenized_row.h"

#include "data/conversation.h"
#include "data/formats.h"
#include "data/row_format.h"
#include "lora/base/error.h"
#include "lora/base/text.h"
#include "lora/data/text_ids.h"
#include "lora/nn/batch.h"

namespace lora::data {
namespace {

const SourceOptions kSourceWithoutRenames;

/// The format whose fields a row has.
RowFormat format_by_fields(const Fields& fields) {
  if (const std::optional<RowFormat> format = find_format(fields, /*only_documents=*/true)) {
    return *format;
  }
  const std::vector<std::string> columns = fields.columns();
  data_error(fields.origin(), "found a row with " + (columns.empty() ? "no keys" : join(columns, ", ", 6)) +
                                  ", expected a text as \"text\", or \"messages\", \"prompt\" and \"completion\", \"instruction\" and "
                                  "\"output\", or \"input_ids\"");
}

TokenizedRow of_documents(const std::vector<EncodedDocument>& documents) {
  TokenizedRow row;
  for (const EncodedDocument& part : documents) {
    row.ids.insert(row.ids.end(), part.ids.begin(), part.ids.end());
    row.lengths.push_back(static_cast<int64_t>(part.ids.size()));
    for (const int32_t label : part.labels) {
      row.mask.push_back(label != nn::kIgnoreLabel);
    }
  }
  return row;
}

TokenizedRow of_chat(EncodedChat chat) {
  TokenizedRow row{std::move(chat.text), std::move(chat.ids), std::move(chat.mask), {}, true};
  row.lengths.push_back(static_cast<int64_t>(row.ids.size()));
  return row;
}

}  // namespace

RowTokenizer::RowTokenizer(const tokenizer::Tokenizer& tokenizer, std::function<const ChatEncoder&()> chat, TrainOn train_on,
                           bool parse_special_tokens, bool writes_instructions)
    : tokenizer_(tokenizer),
      chat_(std::move(chat)),
      train_on_(train_on),
      parse_special_tokens_(parse_special_tokens),
      writes_instructions_(writes_instructions) {}

TokenizedRow RowTokenizer::tokenize(const Row& row, bool as_prompt) const {
  const Fields fields(row, kSourceWithoutRenames);
  const Format& format = format_of(format_by_fields(fields));
  unused_columns(fields, format);
  FormatContext context{&tokenizer_, tokenizer_.vocab_size(), train_on_, /*append_eos=*/true, parse_special_tokens_};
  if (format.format == RowFormat::kMessages) {
    const ChatEncoder& chat = chat_();
    const ChatRow said = read_conversation(fields, chat.chat_template());
    TokenizedRow result = of_chat(as_prompt ? chat.prompt(said.conversation, row.origin)
                                            : chat.encode(said.conversation, train_on_, row.origin, said.excluded));
    if (!as_prompt && is_left_out(fields)) {
      result.mask.assign(result.mask.size(), false);
    }
    return result;
  }
  if (format.format == RowFormat::kPromptCompletion && has_message_pair(fields)) {
    const ChatEncoder& chat = chat_();
    if (as_prompt) {
      return of_chat(chat.prompt(read_prompt_messages(fields, chat.chat_template()), row.origin));
    }
    context.chat = &chat;
  }
  if (format.format == RowFormat::kText) {
    std::vector<int32_t> ids = tokenizer_.around(text_ids(fields.text("text"), {tokenizer_, parse_special_tokens_}), nullptr).ids;
    const auto size = static_cast<int64_t>(ids.size());
    return {std::nullopt, std::move(ids), std::vector<bool>(static_cast<size_t>(size), true), {size}, false};
  }
  if (format.format == RowFormat::kInstruction && writes_instructions_) {
    context.chat = &chat_();
  }
  return of_documents(std::get<std::vector<EncodedDocument>>(format.encode(fields, context).content));
}

}  // namespace lora::data

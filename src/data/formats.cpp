#include "data/formats.h"

#include <algorithm>

#include "lora/data/prompts.h"
#include "lora/nn/token_batch.h"

namespace lora::data {
namespace {

constexpr auto kIgnore = static_cast<int32_t>(nn::kIgnoreLabel);

bool wants_eos(const FormatContext& context) {
  return context.append_eos || context.tokenizer->add_eos();
}

// A prompt and what is to be learned after it are encoded as one text, as they will be met. The prompt encoded alone
// shows how far the prompt reaches; a token that straddles the border differs there, so it is supervised.
Document encode_completion(const std::string& prompt, const std::string& completion, const FormatContext& context,
                           const std::string& where) {
  Document document;
  document.ids = document_ids(prompt + completion, completion, context.text_rule(), context.append_eos, where);
  document.labels = document.ids;
  if (context.train_on == TrainOn::kCompletion) {
    const std::vector<int32_t> alone = prompt_ids(prompt, context.text_rule(), where);
    const auto border = std::mismatch(alone.begin(), alone.end(), document.ids.begin(), document.ids.end()).first;
    std::fill_n(document.labels.begin(), border - alone.begin(), kIgnore);
  }
  return document;
}

Document encode_tokens(const Fields& fields, const FormatContext& context) {
  const int64_t last = context.vocab_size - 1;
  Document document;
  document.ids = fields.integers("input_ids", 0, last, 0);
  document.labels = fields.has("labels") ? fields.integers("labels", 0, last, nn::kIgnoreLabel) : document.ids;
  if (document.labels.size() != document.ids.size()) {
    fields.fail("labels", "found " + std::to_string(document.labels.size()) + " of them and " + std::to_string(document.ids.size()) +
                              " input_ids, expected one label an id (not shifted, -100 where not supervised).");
  }
  return document;
}

Document encode_text(const Fields& fields, const FormatContext& context) {
  Document document;
  const std::string text = fields.text("text");
  document.ids = document_ids(text, text, context.text_rule(), context.append_eos, fields.origin());
  document.labels = document.ids;
  return document;
}

Document encode_prompt_completion(const Fields& fields, const FormatContext& context) {
  return encode_completion(fields.text("prompt"), fields.text("completion"), context, fields.origin());
}

Document encode_instruction(const Fields& fields, const FormatContext& context) {
  const std::string input = fields.has("input") ? fields.text("input") : "";
  return encode_completion(instruction_prompt(fields.text("instruction"), input), fields.text("output"), context, fields.origin());
}

// EOS is put behind a conversation only where its last turn is learnt and ends without any special token.
Document encode_messages(const Fields& fields, const FormatContext& context) {
  const tokenizer::Conversation conversation{fields.json("messages"), fields.has("tools") ? fields.json("tools") : Json()};
  const EncodedChat chat = context.chat->encode(conversation, context.train_on, fields.origin());
  Document document{chat.ids, std::vector<int32_t>(chat.ids.size(), kIgnore)};
  for (size_t i = 0; i < chat.ids.size(); ++i) {
    document.labels[i] = chat.mask[i] ? chat.ids[i] : kIgnore;
  }
  const auto eos = context.tokenizer->eos_id();
  const auto is_end = [&](size_t i) { return context.tokenizer->is_special(chat.ids[i]) || chat.ids[i] == eos; };
  bool open_ended = wants_eos(context) && eos && !chat.ids.empty() && chat.mask.back();
  for (size_t i = chat.ids.size(); open_ended && i-- > 0 && chat.mask[i];) {
    open_ended = !is_end(i);
  }
  if (open_ended) {
    document.ids.push_back(*eos);
    document.labels.push_back(*eos);
  }
  return document;
}

}  // namespace

const Format& format_of(RowFormat format) {
  static const std::vector<Format> kFormats{
      {RowFormat::kTokens, {"input_ids"}, {"labels"}, false, encode_tokens},
      {RowFormat::kText, {"text"}, {}, true, encode_text},
      {RowFormat::kPromptCompletion, {"prompt", "completion"}, {}, true, encode_prompt_completion},
      {RowFormat::kInstruction, {"instruction", "output"}, {"input"}, true, encode_instruction},
      {RowFormat::kMessages, {"messages"}, {"tools"}, true, encode_messages},
      {RowFormat::kClassification, {"label"}, {"text", "text_pair", "input_ids", "token_type_ids"}, false, encode_classification},
      {RowFormat::kFeatures, {"features"}, {"target"}, false, encode_features},
  };
  return *std::find_if(kFormats.begin(), kFormats.end(), [&](const Format& entry) { return entry.format == format; });
}

}  // namespace lora::data

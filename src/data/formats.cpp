#include "data/formats.h"

#include <algorithm>

#include "data/conversation.h"
#include "lora/data/prompts.h"
#include "lora/data/row_fields.h"
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

/// Whether a row says that nothing of it is to be learnt. A loss that counts more or less is not supported.
bool is_unlearnt(const Fields& fields) {
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

// EOS is put behind a conversation only where its last turn is learnt and ends without any special token.
Document encode_conversation(const ChatRow& row, const Fields& fields, const FormatContext& context) {
  const EncodedChat chat = context.chat->encode(row.conversation, context.train_on, fields.origin(), row.unlearnt);
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

Document encode_messages(const Fields& fields, const FormatContext& context) {
  Document document = encode_conversation(read_conversation(fields, context.chat->chat_template()), fields, context);
  if (is_unlearnt(fields)) {
    std::fill(document.labels.begin(), document.labels.end(), kIgnore);
  }
  return document;
}

// By a chat template the instruction and its input, a line each, are what the user says, as in LLaMA-Factory.
Document encode_instruction(const Fields& fields, const FormatContext& context) {
  const std::string& instruction = fields.text("instruction");
  const std::string input = fields.has("input") ? fields.text("input") : "";
  if (context.chat == nullptr) {
    return encode_completion(instruction_prompt(instruction, input), fields.text("output"), context, fields.origin());
  }
  const char* border = instruction.empty() || input.empty() ? "" : "\n";
  const Json messages{{{"role", "user"}, {"content", instruction + border + input}},
                      {{"role", "assistant"}, {"content", fields.text("output")}}};
  return encode_conversation({{messages, Json()}, {}}, fields, context);
}

}  // namespace

const Format& format_of(RowFormat format) {
  using Names = std::vector<std::string>;
  static const Names kTokenColumns{"labels", "completion_mask", "assistant_masks", "loss_mask",
                                   "mask",   "attention_mask",  "position_ids",    "seq_lengths"};
  static const Names kChatColumns{"tools", "functions", "chat_template_kwargs", "system", "weight", "conversations"};
  static const Names kLabelledColumns{"text", "text_pair", "input_ids", "token_type_ids", "attention_mask", "position_ids"};
  static const Names kMedia{"image", "images", "video", "videos", "audio", "audios", "pixel_values", "inputs_embeds"};
  static const Names kOfInstructions{"history", "system", "images", "videos", "audios"};
  static const std::vector<Format> kFormats{
      {RowFormat::kTokens, {"input_ids"}, kTokenColumns, kMedia, false, encode_tokens},
      {RowFormat::kText, {"text"}, {}, {}, true, encode_text},
      {RowFormat::kPromptCompletion, {"prompt", "completion"}, {}, kMedia, true, encode_prompt_completion},
      {RowFormat::kInstruction, {"instruction", "output"}, {"input"}, kOfInstructions, true, encode_instruction},
      {RowFormat::kMessages, {"messages"}, kChatColumns, kMedia, true, encode_messages},
      {RowFormat::kClassification, {"label"}, kLabelledColumns, {}, false, encode_classification},
      {RowFormat::kFeatures, {"features"}, {"target"}, {}, false, encode_features},
  };
  return *std::find_if(kFormats.begin(), kFormats.end(), [&](const Format& entry) { return entry.format == format; });
}

std::vector<std::string> row_fields(RowFormat format) {
  const Format& entry = format_of(format);
  std::vector<std::string> fields = entry.required;
  fields.insert(fields.end(), entry.optional.begin(), entry.optional.end());
  return fields;
}

std::vector<std::string> unused_columns(const Fields& fields, const Format& format) {
  for (const std::string& name : format.refused) {
    if (fields.has(name) && !fields.is_empty(name)) {
      fields.fail(name, "rows of the format " + std::string(kRowFormats.name(format.format)) + " cannot have it: found " +
                            shown(fields.value(name)) +
                            ", on which other tools act. Write such rows as messages, or leave the column out.");
    }
  }
  std::vector<std::string> unused;
  for (const std::string& column : fields.columns()) {
    const auto is_it = [&](const std::string& name) { return fields.column(name) == column; };
    if (std::none_of(format.required.begin(), format.required.end(), is_it) &&
        std::none_of(format.optional.begin(), format.optional.end(), is_it)) {
      unused.push_back(column);
    }
  }
  return unused;
}

}  // namespace lora::data

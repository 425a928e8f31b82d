#include "data/formats.h"

#include <algorithm>

#include "data/conversation.h"
#include "data/ignore_label.h"
#include "data/image_tensors.h"
#include "lora/data/row_fields.h"
#include "lora/nn/batch.h"

namespace lora::data {
namespace {

// Prompt and completion are encoded as one text, as the model will see them. The ids of the prompt by itself show where it ends; a token
// across the border differs from them, so it is supervised.
EncodedContent encode_completion(const std::string& prompt, const std::string& completion, const FormatContext& context,
                                 const std::string& where) {
  EncodedDocument document;
  document.ids = document_ids(prompt + completion, completion, context.text_rule(), context.append_eos, where);
  document.labels = document.ids;
  if (context.train_on != TrainOn::kAll) {
    const std::vector<int32_t> alone = prompt_ids(prompt, context.text_rule(), where);
    const auto border = std::mismatch(alone.begin(), alone.end(), document.ids.begin(), document.ids.end()).first;
    std::fill_n(document.labels.begin(), border - alone.begin(), kIgnore);
  }
  return one_document(std::move(document));
}

EncodedContent encode_text(const Fields& fields, const FormatContext& context) {
  EncodedDocument document;
  const std::string text = fields.text("text");
  document.ids = document_ids(text, text, context.text_rule(), context.append_eos, fields.origin());
  document.labels = document.ids;
  return one_document(std::move(document));
}

EncodedContent encode_prompt_completion(const Fields& fields, const FormatContext& context) {
  return has_message_pair(fields) ? encode_message_pair(fields, context)
                                  : encode_completion(fields.text("prompt"), fields.text("completion"), context, fields.origin());
}

EncodedContent encode_instruction(const Fields& fields, const FormatContext& context) {
  return context.chat == nullptr ? encode_completion(alpaca_prompt(fields), fields.text("output"), context, fields.origin())
                                 : encode_instruction_chat(fields, context);
}

}  // namespace

const std::vector<Format>& formats() {
  using Names = std::vector<std::string>;
  static const Names kTokenColumns{"labels", "completion_mask", "assistant_masks", "loss_mask",
                                   "mask",   "attention_mask",  "position_ids",    "seq_lengths"};
  static const Names kChatColumns{"tools", "functions", "chat_template_kwargs", "system", "weight", "conversations"};
  static const Names kPairColumns{"tools", "functions", "chat_template_kwargs", "system", "weight"};
  static const Names kLabelledColumns{"text", "text_pair", "input_ids", "token_type_ids", "attention_mask", "position_ids"};
  static const Names kMedia{"image", "images", "video", "videos", "audio", "audios", "pixel_values", "inputs_embeds"};
  static const Names kMasks{"mask_file_name", "mask", "conditioning_image"};
  static const Names kMediaOfInstructions{"images", "videos", "audios"};
  static const std::vector<Format> kFormats{
      {RowFormat::kMessages, {"messages"}, kChatColumns, kMedia, encode_messages},
      {RowFormat::kPromptCompletion, {"prompt", "completion"}, kPairColumns, kMedia, encode_prompt_completion},
      {RowFormat::kInstruction, {"instruction", "output"}, {"input", "system", "history"}, kMediaOfInstructions, encode_instruction},
      {RowFormat::kFeatures, {"features"}, {"target"}, {}, encode_features},
      {RowFormat::kClassification, {"label"}, kLabelledColumns, {}, encode_classification},
      {RowFormat::kTokens, {"input_ids"}, kTokenColumns, kMedia, encode_tokens},
      {RowFormat::kDiffusionTensors, {"file_name"}, {"text", "prior"}, {}, encode_diffusion_tensors},
      {RowFormat::kImages, {"file_name"}, {"text", "weight", "prior"}, kMasks, nullptr},
      {RowFormat::kText, {"text"}, {}, {}, encode_text},
  };
  return kFormats;
}

const Format& format_of(RowFormat format) {
  return *std::find_if(formats().begin(), formats().end(), [&](const Format& entry) { return entry.format == format; });
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
      fields.fail(name, "rows of the format " + std::string(kRowFormats.name(format.format)) + " cannot have this column: found " +
                            shown(fields.value(name)) +
                            ", which other tools use. " +
                            (format.format == RowFormat::kImages ? "Remove the column."
                                                                 : "Write such rows as messages, or remove the column."));
    }
  }
  // The columns for messages do not apply to a prompt and a completion that are texts.
  const bool uses_optional = format.format != RowFormat::kPromptCompletion || has_message_pair(fields);
  std::vector<std::string> unused;
  for (const std::string& column : fields.columns()) {
    const auto is_it = [&](const std::string& name) { return fields.column(name) == column; };
    const bool is_required = std::any_of(format.required.begin(), format.required.end(), is_it);
    if (!is_required && !(uses_optional && std::any_of(format.optional.begin(), format.optional.end(), is_it))) {
      unused.push_back(column);
    }
  }
  return unused;
}

}  // namespace lora::data

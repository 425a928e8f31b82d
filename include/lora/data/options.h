#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/enum_table.h"
#include "lora/data/image_options.h"

namespace lora::data {

/// How a row becomes an example. Each entry has a line in kRowFormatFacts, and its fields and encoding function in formats.cpp.
enum class RowFormat { kTokens, kText, kPromptCompletion, kInstruction, kMessages, kClassification, kFeatures, kDiffusionTensors, kImages };
inline constexpr EnumTable<RowFormat, 9> kRowFormats{{{{RowFormat::kTokens, "tokens"},
                                                       {RowFormat::kText, "text"},
                                                       {RowFormat::kPromptCompletion, "prompt_completion"},
                                                       {RowFormat::kInstruction, "instruction"},
                                                       {RowFormat::kMessages, "messages"},
                                                       {RowFormat::kClassification, "classification"},
                                                       {RowFormat::kFeatures, "features"},
                                                       {RowFormat::kDiffusionTensors, "diffusion_tensors"},
                                                       {RowFormat::kImages, "images"}}}};

/// What a row holds.
enum class RowContent {
  kDocuments,      ///< tokens, each with its label
  kGroups,         ///< documents that are compared with each other, so that they stay together as one example
  kLabelledTexts,  ///< a text, or a pair of texts, with one label
  kFeatures,       ///< numbers
  kImages,         ///< images to remove noise from
};

/// What a chat template does with the rows.
enum class ChatUse {
  kNone,
  kMessages,  ///< it writes every row
  kPairs,     ///< it writes those whose prompt and completion are messages
  kOptional,  ///< it writes them if one is chosen; otherwise they become the Alpaca prompt
};

/// What other code must know about the rows of a format.
struct RowFormatFacts {
  RowFormat format;
  RowContent content;
  ChatUse chat;
  bool needs_text;  ///< every row has text, which needs a tokenizer; rows of `classification` may have text
};
inline constexpr std::array<RowFormatFacts, 9> kRowFormatFacts{{
    {RowFormat::kTokens, RowContent::kDocuments, ChatUse::kNone, false},
    {RowFormat::kText, RowContent::kDocuments, ChatUse::kNone, true},
    {RowFormat::kPromptCompletion, RowContent::kDocuments, ChatUse::kPairs, true},
    {RowFormat::kInstruction, RowContent::kDocuments, ChatUse::kOptional, true},
    {RowFormat::kMessages, RowContent::kDocuments, ChatUse::kMessages, true},
    {RowFormat::kClassification, RowContent::kLabelledTexts, ChatUse::kNone, false},
    {RowFormat::kFeatures, RowContent::kFeatures, ChatUse::kNone, false},
    {RowFormat::kDiffusionTensors, RowContent::kImages, ChatUse::kNone, false},
    {RowFormat::kImages, RowContent::kImages, ChatUse::kNone, false},
}};

inline constexpr const RowFormatFacts& facts_of(RowFormat format) {
  return *std::find_if(kRowFormatFacts.begin(), kRowFormatFacts.end(), [format](const auto& facts) { return facts.format == format; });
}

inline bool needs_text(RowFormat format) {
  return facts_of(format).needs_text;
}

/// Whether a row has one label as a whole instead of one for each token.
inline bool has_one_label(RowFormat format) {
  return facts_of(format).content == RowContent::kLabelledTexts || facts_of(format).content == RowContent::kFeatures;
}

/// What happens to a document longer than max_length.
enum class Overlength {
  kTruncate,  ///< only its first max_length tokens are kept
  kDrop,      ///< it is dropped and counted
  kError,     ///< data Error naming it
  /// It is split into documents of max_length tokens. If it begins with BOS, each of them does, and every label is supervised once;
  /// otherwise the first token of a part has no context, so it is not supervised.
  kSplit,
};
inline constexpr EnumTable<Overlength, 4> kOverlengths{
    {{{Overlength::kTruncate, "truncate"}, {Overlength::kDrop, "drop"}, {Overlength::kError, "error"}, {Overlength::kSplit, "split"}}}};

/// Which tokens of prompt_completion, instruction and messages rows are supervised.
enum class TrainOn {
  kCompletion,  ///< the completion, the output, every turn of the assistant
  kLastTurn,    ///< only the assistant's last turn: of messages rows, and of instruction rows (the output)
  kAll,
};
inline constexpr EnumTable<TrainOn, 3> kTrainOn{
    {{{TrainOn::kCompletion, "completion"}, {TrainOn::kLastTurn, "last_turn"}, {TrainOn::kAll, "all"}}}};
/// Whether a format's rows have turns, as `last_turn` requires.
inline bool has_turns(RowFormat format) {
  return facts_of(format).chat == ChatUse::kMessages || facts_of(format).chat == ChatUse::kOptional;
}

/// Whether a format's rows have a prompt before the supervised tokens, so that `train_on` applies to them.
inline bool has_prompt(RowFormat format) {
  return facts_of(format).chat != ChatUse::kNone;
}
/// Whether a chat template can write a format's rows.
inline bool is_conversation(RowFormat format) {
  return has_prompt(format);
}

/// The unit of a .txt file that is one document.
enum class TextDocuments {
  kLine,
  kParagraph,  ///< the lines up to a blank line
  kFile,
};
inline constexpr EnumTable<TextDocuments, 3> kTextDocuments{
    {{{TextDocuments::kLine, "line"}, {TextDocuments::kParagraph, "paragraph"}, {TextDocuments::kFile, "file"}}}};

// A field added to one of the two structs below must also be added to cache_key.cpp if it affects the examples of a row.

/// One entry of data.train or data.eval.
struct SourceOptions {
  std::string path;  ///< file of a known kind (file_kind), glob, or "-" (stdin); of images also a folder
  RowFormat format = RowFormat::kText;
  std::map<std::string, std::string> columns;      ///< our field name → the file's
  double weight = 1.0;                             ///< expected uses of each example per epoch
  std::optional<int64_t> limit;                    ///< maximum number of rows
  TextDocuments documents = TextDocuments::kLine;  ///< for .txt files
  bool prior = false;                              ///< its images show the class of the subject in general
};

struct DataOptions {
  std::vector<SourceOptions> train;
  std::vector<SourceOptions> eval;
  double eval_fraction = 0.0;  ///< fraction of the training examples held out, selected by the seed; only without `eval`
  int64_t max_length = 1024;
  Overlength overlength = Overlength::kTruncate;
  bool packing = false;
  std::optional<int64_t> tokens_per_batch;  ///< input tokens per batch; none or 0: batches have a number of documents
  TrainOn train_on = TrainOn::kCompletion;
  std::optional<std::string> chat_template;  ///< as ChatTemplateChoice::name; none: the model's own for rows of messages
  bool append_eos = true;
  bool parse_special_tokens = true;  ///< the text of a special token in a text or prompt becomes that token
  bool shuffle = true;
  std::filesystem::path cache_dir;  ///< where tokenised data is cached; empty: nowhere
  ImageOptions images;
};

}  // namespace lora::data

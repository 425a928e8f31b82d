#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/enum_table.h"

namespace lora::data {

/// How a row becomes token ids and labels. Each entry has an encoding function in formats.cpp.
enum class RowFormat { kTokens, kText, kPromptCompletion, kInstruction, kMessages, kClassification, kFeatures };
inline constexpr EnumTable<RowFormat, 7> kRowFormats{{{{RowFormat::kTokens, "tokens"},
                                                       {RowFormat::kText, "text"},
                                                       {RowFormat::kPromptCompletion, "prompt_completion"},
                                                       {RowFormat::kInstruction, "instruction"},
                                                       {RowFormat::kMessages, "messages"},
                                                       {RowFormat::kClassification, "classification"},
                                                       {RowFormat::kFeatures, "features"}}}};

/// Whether every row of a format has text, which needs a tokenizer. Rows of `classification` may have text.
inline bool needs_text(RowFormat format) {
  return format != RowFormat::kTokens && format != RowFormat::kClassification && format != RowFormat::kFeatures;
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
  return format == RowFormat::kMessages || format == RowFormat::kInstruction;
}

/// Whether a format's rows have a prompt before the supervised tokens, so that `train_on` applies to them.
inline bool has_prompt(RowFormat format) {
  return format == RowFormat::kPromptCompletion || format == RowFormat::kInstruction || format == RowFormat::kMessages;
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
  std::string path;  ///< file, glob, or "-" (stdin); .jsonl .json .csv .txt, each also .gz
  RowFormat format = RowFormat::kText;
  std::map<std::string, std::string> columns;      ///< our field name → the file's
  double weight = 1.0;                             ///< expected uses of each example per epoch
  std::optional<int64_t> limit;                    ///< maximum number of rows
  TextDocuments documents = TextDocuments::kLine;  ///< for .txt files
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
};

}  // namespace lora::data

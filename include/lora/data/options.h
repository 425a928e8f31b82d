#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/enum_table.h"

namespace lora::data {

/// How a row becomes token ids and labels. One entry here, one function in formats.cpp.
enum class RowFormat { kTokens, kText, kPromptCompletion, kInstruction, kMessages, kClassification, kFeatures };
inline constexpr EnumTable<RowFormat, 7> kRowFormats{{{{RowFormat::kTokens, "tokens"},
                                                       {RowFormat::kText, "text"},
                                                       {RowFormat::kPromptCompletion, "prompt_completion"},
                                                       {RowFormat::kInstruction, "instruction"},
                                                       {RowFormat::kMessages, "messages"},
                                                       {RowFormat::kClassification, "classification"},
                                                       {RowFormat::kFeatures, "features"}}}};

/// Whether a format's rows have a text in every case, which needs a tokenizer; those of a classification may have one.
inline bool needs_text(RowFormat format) {
  return format != RowFormat::kTokens && format != RowFormat::kClassification && format != RowFormat::kFeatures;
}

/// What happens to a document longer than max_length.
enum class Overlength {
  kTruncate,  ///< its first max_length tokens stay
  kDrop,      ///< it is left out and counted
  kError,     ///< data Error naming it
  /// Cut into documents of max_length tokens. Where the document begins with BOS each of them does, and every label is supervised
  /// once; otherwise the first token of a part is predicted from nothing, so it is not supervised.
  kSplit,
};
inline constexpr EnumTable<Overlength, 4> kOverlengths{
    {{{Overlength::kTruncate, "truncate"}, {Overlength::kDrop, "drop"}, {Overlength::kError, "error"}, {Overlength::kSplit, "split"}}}};

/// Which tokens of prompt_completion, instruction and messages rows are supervised.
enum class TrainOn {
  kCompletion,  ///< the completion, the output, every turn of the assistant's
  kLastTurn,    ///< the assistant's last turn (of instruction rows the output); of messages and instruction rows
  kAll,
};
inline constexpr EnumTable<TrainOn, 3> kTrainOn{
    {{{TrainOn::kCompletion, "completion"}, {TrainOn::kLastTurn, "last_turn"}, {TrainOn::kAll, "all"}}}};
/// Whether a format's rows have turns, which `last_turn` needs.
inline bool has_turns(RowFormat format) {
  return format == RowFormat::kMessages || format == RowFormat::kInstruction;
}

/// Whether a format's rows have a prompt before what is learnt, which `train_on` is about.
inline bool has_prompt(RowFormat format) {
  return format == RowFormat::kPromptCompletion || format == RowFormat::kInstruction || format == RowFormat::kMessages;
}
/// Whether a format's rows can be written by a chat template.
inline bool is_conversation(RowFormat format) {
  return has_prompt(format);
}

/// What a document of a .txt file is.
enum class TextDocuments {
  kLine,
  kParagraph,  ///< the lines up to a blank one
  kFile,
};
inline constexpr EnumTable<TextDocuments, 3> kTextDocuments{
    {{{TextDocuments::kLine, "line"}, {TextDocuments::kParagraph, "paragraph"}, {TextDocuments::kFile, "file"}}}};

// A field added to the two structs below belongs into cache_key.cpp as well, if it changes what a row becomes.

/// One entry of data.train or data.eval.
struct SourceOptions {
  std::string path;  ///< file, glob, or "-" (stdin); .jsonl .json .csv .txt, each also .gz
  RowFormat format = RowFormat::kText;
  std::map<std::string, std::string> columns;      ///< our field name → the file's
  double weight = 1.0;                             ///< expected uses of each example an epoch
  std::optional<int64_t> limit;                    ///< at most so many rows
  TextDocuments documents = TextDocuments::kLine;  ///< of .txt files
};

struct DataOptions {
  std::vector<SourceOptions> train;
  std::vector<SourceOptions> eval;
  double eval_fraction = 0.0;  ///< share of the training examples held out, chosen by seed; only without `eval`
  int64_t max_length = 1024;
  Overlength overlength = Overlength::kTruncate;
  bool packing = false;
  std::optional<int64_t> tokens_per_batch;  ///< input tokens that are computed at once; none or 0: batches are by number
  TrainOn train_on = TrainOn::kCompletion;
  std::optional<std::string> chat_template;  ///< as ChatTemplateChoice::name; none: rows of messages by the model's own
  bool append_eos = true;
  bool parse_special_tokens = true;  ///< the text of special tokens in texts and prompts stands for them
  bool shuffle = true;
  std::filesystem::path cache_dir;  ///< where tokenised data is kept; empty: nowhere
};

}  // namespace lora::data

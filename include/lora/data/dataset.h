#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lora/data/example.h"
#include "lora/data/labels.h"
#include "lora/data/options.h"
#include "lora/tokenizer/chat_template.h"
#include "lora/tokenizer/tokenizer.h"

namespace lora::data {

/// The documents of a set's .txt files that were cut in one way.
struct TextReport {
  TextDocuments documents = TextDocuments::kLine;
  int64_t count = 0;
  int64_t median_tokens = 0;  ///< of a document, its special tokens included
};

/// What happened to the rows on their way in.
struct DataReport {
  int64_t rows = 0;                          ///< rows read
  int64_t truncated = 0;                     ///< by max_length
  int64_t dropped = 0;                       ///< by max_length
  int64_t split = 0;                         ///< rows cut into several documents
  int64_t skipped = 0;                       ///< without one supervised token
  std::vector<std::string> skipped_origins;  ///< the first ten
  std::vector<TextReport> texts;             ///< one for each way in which .txt files were cut
  std::vector<std::string> unused_columns;   ///< "file: names" of columns that rows have and their format does not use
  int64_t message_pairs = 0;                 ///< prompt_completion rows whose prompt and completion are messages
};

struct SourceFile {
  std::string path;
  std::string sha256;  ///< of the bytes read
};

struct Dataset {
  std::vector<Example> examples;
  RawLabels raw_labels;      ///< what the rows' labels are, until apply_labels has given them their numbers
  bool has_classes = false;  ///< targets are classes, int64 in a batch; else values, float32
  DataReport report;
  std::vector<SourceFile> files;

  int64_t num_tokens() const;
  int64_t num_supervised() const;
  /// Which example has the most tokens; there is one.
  int64_t longest() const;
};

/// What the rows must fit.
struct LoadContext {
  const tokenizer::Tokenizer* tokenizer = nullptr;         ///< null: only `tokens` rows can be read
  int64_t vocab_size = 0;                                  ///< of the model: ids from 0 to vocab_size - 1
  bool keep_unsupervised = false;                          ///< rows without a supervised token or a label stay, so that none is missing
  int num_threads = 0;                                     ///< that encode rows; 0: as many as torch computes with
  const tokenizer::ChatTemplate* chat_template = nullptr;  ///< null: no rows of messages can be read
  /// What instruction rows are written by, as a user's turn and an answer; null: the prompt of Alpaca.
  const tokenizer::ChatTemplate* instruction_template = nullptr;
};

/// Reads `sources` in order. `name` ("data.train") names the set in errors. Throws data Error for an unreadable file, a
/// malformed row (file:line:column), invalid UTF-8, a missing or mistyped field, an id out of the vocabulary, and a set
/// left with no example; config Error for a text format without a tokenizer. Skipped rows are counted and warned of.
/// Rows are encoded in several threads; the result, and which row's error is thrown (the first's), do not depend on them.
/// With options.cache_dir the result is kept there and found again as long as neither the files nor what becomes of them
/// change; stdin is always read.
Dataset load_dataset(const std::string& name, const std::vector<SourceOptions>& sources, const DataOptions& options,
                     const LoadContext& context);

/// Throws data Error, file:line, for the first example without a target. `why` it needs one ends the message.
void require_targets(const Dataset& dataset, const std::string& why);

/// Throws data Error, file:line, where the rows of a second set are of another kind or shape than those of the first.
void require_same_shape(const Dataset& first, const Dataset& second);

/// Moves a share of the examples to a second set: for each, a function of (seed, index); at least one each side.
Dataset split_off(Dataset& dataset, double fraction, uint64_t seed);

}  // namespace lora::data

#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "lora/data/example.h"
#include "lora/data/image_encoders.h"
#include "lora/data/labels.h"
#include "lora/data/options.h"
#include "lora/tokenizer/chat_template.h"
#include "lora/tokenizer/tokenizer.h"

namespace lora::data {

/// The documents of a set's .txt files that were divided in the same way.
struct TextReport {
  TextDocuments documents = TextDocuments::kLine;
  int64_t count = 0;
  int64_t median_tokens = 0;  ///< per document, including special tokens
};

/// What happened to the rows while they were read.
struct DataReport {
  int64_t rows = 0;                          ///< rows read
  int64_t truncated = 0;                     ///< to max_length
  int64_t dropped = 0;                       ///< as longer than max_length
  int64_t split = 0;                         ///< rows split into several documents
  int64_t skipped = 0;                       ///< without any supervised token
  std::vector<std::string> skipped_origins;  ///< the first ten
  std::vector<TextReport> texts;             ///< one for each way in which .txt files were divided
  std::vector<std::string> unused_columns;   ///< "file: names" of the columns that the format does not use
  int64_t message_pairs = 0;                 ///< prompt_completion rows whose prompt and completion are messages
};

struct SourceFile {
  std::string path;
  std::string sha256;  ///< of the bytes read
};

struct Dataset {
  std::vector<Example> examples;
  RowLabels labels;  ///< what the examples' targets are
  DataReport report;
  std::vector<SourceFile> files;

  /// Whether targets are classes (int64 in a batch), otherwise values (float32).
  bool has_classes() const { return labels.kind == LabelKind::kIntegers || labels.kind == LabelKind::kNames; }
  int64_t num_tokens() const;
  int64_t num_supervised() const;
  /// Index of the example with the most tokens. The set must not be empty.
  int64_t longest() const;
};

/// What the rows must fit.
struct LoadContext {
  const tokenizer::Tokenizer* tokenizer = nullptr;         ///< null: only `tokens` rows can be read
  std::optional<int64_t> vocab_size;                       ///< of the model: ids from 0 to vocab_size - 1; none: not known
  bool keep_unsupervised = false;                          ///< rows without a supervised token or a label are kept
  int num_threads = 0;                                     ///< that encode rows; 0: as many as torch uses
  const tokenizer::ChatTemplate* chat_template = nullptr;  ///< null: rows of messages cannot be read
  /// The template for instruction rows, which become a user's turn and an answer; null: they use the Alpaca prompt.
  const tokenizer::ChatTemplate* instruction_template = nullptr;

  const ImageEncoders* images = nullptr;  ///< null: rows of images cannot be read
  bool one_form = false;                  ///< images are used once, as they are, with their first caption (evaluation)

  /// The ids that rows may have are below this.
  int64_t num_ids() const { return vocab_size.value_or(std::numeric_limits<int32_t>::max()); }
};

/// Reads `sources` in order. `name` ("data.train") names the set in errors. Throws data Error for an unreadable file, a
/// malformed row (file:line:column), invalid UTF-8, a missing field or one of the wrong type, an id outside the vocabulary, and a
/// set without any example; config Error for a text format without a tokenizer. Skipped rows are counted and reported in a warning.
/// Rows are encoded in several threads; the result and the error that is thrown (that of the first faulty row) do not depend on them.
/// With options.cache_dir the result is cached there, and reused as long as neither the files nor any option that affects it
/// change; stdin is always read.
Dataset load_dataset(const std::string& name, const std::vector<SourceOptions>& sources, const DataOptions& options,
                     const LoadContext& context);

/// Throws data Error naming file:line for the first example without a target. The message ends with `why` it needs one.
void require_targets(const Dataset& dataset, const std::string& why);

/// Throws data Error naming file:line if the rows of the second set differ in kind or shape from those of the first.
void require_same_shape(const Dataset& first, const Dataset& second);

/// Moves a share of the examples to a second set: for each example a function of (seed, index); each set has at least one.
Dataset split_off(Dataset& dataset, double fraction, uint64_t seed);

}  // namespace lora::data

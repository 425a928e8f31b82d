#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lora/data/labels.h"
#include "lora/data/options.h"
#include "lora/data/rows.h"

namespace lora::data {

/// A row's label as a whole, and what it is.
struct RowLabel {
  LabelKind kind = LabelKind::kNone;
  double number = 0;  ///< of kIntegers and kReals
  std::string name;   ///< of kNames
};

/// One row's fields under our names, typed; every error names file, line, the field and what there is instead.
class Fields {
 public:
  Fields(const Row& row, const SourceOptions& source) : row_(row), source_(source) {}

  const std::string& origin() const { return row_.origin; }
  /// The file's name of a field.
  const std::string& column(const std::string& field) const;

  /// Whether the row has the field: present, not null, in CSV not empty.
  bool has(const std::string& field) const;
  /// The names of all that the row has.
  std::vector<std::string> columns() const;
  /// Whether the field holds an empty array, object or text, or one of empty JSON.
  bool is_empty(const std::string& field) const;
  /// As the row has it.
  const Json& value(const std::string& field) const { return at(field); }
  const std::string& text(const std::string& field) const;
  /// An array or object; in CSV a cell that holds it as JSON, elsewhere a string may hold it too.
  Json json(const std::string& field) const;
  /// An array of integers (in CSV a cell with a JSON array), each from `low` to `high`, or `other`.
  std::vector<int32_t> integers(const std::string& field, int64_t low, int64_t high, int64_t other) const;

  /// An array of `count` values that are 0 or 1, or false or true.
  std::vector<bool> mask(const std::string& field, size_t count) const;

  /// An attention_mask of `count` values: 0 for padding; 1, true, or the number of a document for other ids.
  std::vector<int32_t> attention(size_t count) const;

  /// A class by number or name, or a value: an integer, a string or a number; in CSV a cell that reads as a number is one.
  RowLabel label(const std::string& field) const;

  /// Whether the field is an array; in CSV a cell that begins as one.
  bool is_list(const std::string& field) const;
  /// An array or a number; in CSV a cell that holds it as JSON.
  Json numbers(const std::string& field) const;

  [[noreturn]] void fail(const std::string& field, const std::string& what) const;

 private:
  const Json& at(const std::string& field) const;

  const Row& row_;
  const SourceOptions& source_;
};

}  // namespace lora::data

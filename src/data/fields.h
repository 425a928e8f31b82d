#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lora/data/labels.h"
#include "lora/data/options.h"
#include "lora/data/rows.h"

namespace lora::data {

/// The label of a whole row, and its kind.
struct RowLabel {
  LabelKind kind = LabelKind::kNone;
  double number = 0;  ///< of kIntegers and kReals
  std::string name;   ///< of kNames
};

/// Typed access to one row's fields under our names. Every error names file, line, field and the value found.
class Fields {
 public:
  Fields(const Row& row, const SourceOptions& source) : row_(row), source_(source) {}

  const std::string& origin() const { return row_.origin; }
  /// The folder of the rows' file, to which the paths in a row are relative.
  std::filesystem::path folder() const { return std::filesystem::path(row_.origin.substr(0, row_.origin.rfind(':'))).parent_path(); }
  /// The name of a field in the file.
  const std::string& column(const std::string& field) const;

  /// Whether the field is present and not null (in CSV, not empty).
  bool has(const std::string& field) const;
  /// The names of all columns of the row.
  std::vector<std::string> columns() const;
  /// Whether the field holds an empty array, object or text, or the JSON text of an empty array or object.
  bool is_empty(const std::string& field) const;
  /// The value as in the row.
  const Json& value(const std::string& field) const { return at(field); }
  const std::string& text(const std::string& field) const;
  /// An array or object, which may also be given as a string of JSON (as in a CSV cell).
  Json json(const std::string& field) const;
  /// An array of integers (in CSV a cell with a JSON array), each from `low` to `high` or equal to `other`.
  std::vector<int32_t> integers(const std::string& field, int64_t low, int64_t high, int64_t other) const;

  /// An array of `count` values, each 0 or 1 or a boolean.
  std::vector<bool> mask(const std::string& field, size_t count) const;

  /// An attention_mask of `count` values: 0 for padding; 1, true or a document number for other ids.
  std::vector<int32_t> attention(size_t count) const;

  /// A class by index or name, or a value: an integer, a string or a number. A CSV cell that parses as a number is a number.
  RowLabel label(const std::string& field) const;

  /// Whether the field is an array (in CSV, a cell that begins with a bracket).
  bool is_list(const std::string& field) const;
  /// An array or a number (in CSV, a cell that holds it as JSON).
  Json numbers(const std::string& field) const;

  [[noreturn]] void fail(const std::string& field, const std::string& what) const;

 private:
  const Json& at(const std::string& field) const;

  const Row& row_;
  const SourceOptions& source_;
};

}  // namespace lora::data

#include "data/csv_reader.h"

#include "lora/base/error.h"

namespace lora::data {

static constexpr size_t kMaxField = size_t{1} << 30;

std::optional<CsvRecord> CsvReader::next() {
  std::optional<std::string_view> line = lines_.next();
  while (line && is_blank(*line)) {
    line = lines_.next();
  }
  if (!line) {
    return std::nullopt;
  }
  record_ = CsvRecord{{}, lines_.origin(), lines_.number()};
  read_line(*line);
  while (state_ == State::kQuoted) {
    line = lines_.next();
    if (!line || field_.size() > kMaxField) {
      data_error(opened_, "found a quote that is never closed. Double a quote inside a quoted field (\"\").");
    }
    field_ += '\n';
    read_line(*line);
  }
  end_field();
  return std::move(record_);
}

void CsvReader::read_line(std::string_view line) {
  const std::string_view text = without_cr(line);
  for (size_t i = 0; i < text.size(); ++i) {
    read_char(text[i], i);
  }
  if (state_ == State::kQuoted && text.size() < line.size()) {
    field_ += '\r';  // inside quotes the line ending is part of the field
  }
}

void CsvReader::read_char(char c, size_t column) {
  switch (state_) {
    case State::kFieldStart:
    case State::kBare:
      if (c == ',') {
        end_field();
      } else if (c != '"') {
        field_ += c;
        state_ = State::kBare;
      } else if (state_ == State::kFieldStart) {
        state_ = State::kQuoted;
        opened_ = lines_.place(column);
      } else {
        data_error(lines_.place(column),
                   "found a quote inside an unquoted field. Quote the whole field, and double the quote (\"\").");
      }
      return;
    case State::kQuoted:
      if (c == '"') {
        state_ = State::kQuoteEnded;
      } else {
        field_ += c;
      }
      return;
    case State::kQuoteEnded:
      if (c == '"') {
        field_ += c;
        state_ = State::kQuoted;
      } else if (c == ',') {
        end_field();
      } else {
        data_error(lines_.place(column),
                   "found text after a closing quote, expected a comma or the end of the line. Double a quote inside a field (\"\").");
      }
      return;
  }
}

void CsvReader::end_field() {
  record_.fields.push_back(std::move(field_));
  field_.clear();
  state_ = State::kFieldStart;
}

}  // namespace lora::data

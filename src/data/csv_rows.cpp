#include "data/csv_rows.h"

#include <memory>
#include <utility>

#include "data/csv_reader.h"
#include "lora/base/error.h"
#include "lora/base/text.h"

namespace lora::data {
namespace {

std::vector<std::string> read_header(CsvReader& records) {
  const auto header = records.next();
  if (!header) {
    return {};
  }
  for (size_t i = 0; i < header->fields.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (header->fields[i] == header->fields[j]) {
        data_error(header->origin, "the header names the column " + printable(header->fields[i]) + " twice");
      }
    }
  }
  return header->fields;
}

Row make_row(const std::vector<std::string>& header, const CsvRecord& record) {
  if (record.fields.size() != header.size()) {
    data_error(record.origin, "found " + std::to_string(record.fields.size()) + " fields, expected " + std::to_string(header.size()) +
                                  " as in the header (" + printable(join(header), 200) +
                                  "). Likely cause: a comma or a newline in an unquoted field.");
  }
  Row row{Json::object(), record.origin, true, record.line};
  for (size_t i = 0; i < header.size(); ++i) {
    row.object[header[i]] = record.fields[i];
  }
  return row;
}

}  // namespace

void find_csv_rows(RowInput& input, const PendingRowSink& sink) {
  LineReader lines = input.lines();
  CsvReader records(lines);
  const auto header = std::make_shared<const std::vector<std::string>>(read_header(records));
  while (auto record = records.next()) {
    size_t bytes = 0;
    for (const std::string& field : record->fields) {
      bytes += field.size();
    }
    if (!sink({[header, record = std::move(*record)] { return make_row(*header, record); }, bytes})) {
      return;
    }
  }
}

}  // namespace lora::data

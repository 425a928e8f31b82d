#include "data/image_rows.h"

#include <cmath>
#include <filesystem>

#include "data/formats.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/found_text.h"
#include "lora/base/text.h"

namespace lora::data {
namespace {

constexpr double kLargestWeight = 10'000;

/// A value that a CSV file holds as the text of one.
Json own_value(const Fields& fields, const std::string& field) {
  const Json& value = fields.value(field);
  const Json parsed = value.is_string() ? Json::parse(value.get_ref<const std::string&>(), nullptr, /*allow_exceptions=*/false) : Json();
  return parsed.is_number() || parsed.is_boolean() ? parsed : value;
}

double weight_of_row(const Fields& fields) {
  if (!fields.has("weight")) {
    return 1.0;
  }
  const Json value = own_value(fields, "weight");
  const double weight = value.is_number() ? value.get<double>() : NAN;
  if (!(weight > 0 && weight <= kLargestWeight)) {
    fields.fail("weight", "found " + found_text(value) + ", expected a number above 0 and at most 10,000");
  }
  return weight;
}

std::vector<std::string> captions_of(const Fields& fields) {
  if (!fields.has("text")) {
    return {};
  }
  const Json list = fields.value("text").is_array() ? fields.value("text") : Json::array({fields.value("text")});
  std::vector<std::string> captions;
  for (const Json& caption : list) {
    if (!caption.is_string()) {
      fields.fail("text", "found " + found_text(caption) + ", expected a caption or a list of captions");
    }
    if (const std::string text = trim(caption.get<std::string>()); !text.empty()) {
      captions.push_back(text);
    }
  }
  return captions;
}

std::string file_of(const Fields& fields) {
  const std::string& named = fields.text("file_name");
  const fs::path file = named.empty() ? fs::path() : fields.folder() / named;
  std::error_code error;
  if (named.empty() || !fs::is_regular_file(file, error)) {
    fields.fail("file_name", "there is no such file: found \"" + printable(named) + "\", expected the path of an image, relative to '" +
                                 fields.folder().string() + "'");
  }
  return file.lexically_normal().string();
}

std::string list_of_columns(const std::set<std::string>& columns) {
  std::vector<std::string> names;
  for (const std::string& column : columns) {
    names.push_back(printable(column));
  }
  return join(names, ", ", 6);
}

}  // namespace

bool is_prior_row(const Fields& fields) {
  if (!fields.has("prior")) {
    return false;
  }
  const Json value = own_value(fields, "prior");
  if (!value.is_boolean()) {
    fields.fail("prior", "found " + found_text(value) + ", expected true or false");
  }
  return value.get<bool>();
}

void read_image_rows(const std::string& path, const FileKind& kind, const SourceOptions& source, int64_t limit, ImageRecords& records) {
  const auto name = std::make_shared<const std::string>(path);
  const Format& format = format_of(RowFormat::kImages);
  std::set<std::string> unused;
  int64_t count = 0;
  const auto add = [&](const Row& row) {
    const Fields fields(row, source);
    for (std::string& column : unused_columns(fields, format)) {
      unused.insert(std::move(column));
    }
    const bool is_prior = is_prior_row(fields) || source.prior;
    records.all.push_back({file_of(fields), captions_of(fields), weight_of_row(fields) * source.weight, is_prior, {name, row.line}});
    return ++count < limit;
  };
  records.files.push_back({path, read_rows(path, kind, add)});
  if (!unused.empty()) {
    records.unused_columns.push_back(path + ": " + list_of_columns(unused));
  }
}

}  // namespace lora::data

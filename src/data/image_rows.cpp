#include "data/image_rows.h"

#include <cmath>
#include <filesystem>

#include "data/formats.h"
#include "data/paths.h"
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

ImageRecords read_image_sources(const std::string& name, const std::vector<SourceOptions>& sources) {
  ImageRecords records;
  for (size_t i = 0; i < sources.size(); ++i) {
    const SourceOptions& source = sources[i];
    const std::string where = name + "[" + std::to_string(i) + "]";
    if (source.format != RowFormat::kImages) {
      config_error(where + ".format", "found \"" + std::string(kRowFormats.name(source.format)) +
                                          "\" in a set that has images, expected \"images\" for all sources of a set");
    }
    const int64_t limit = source.limit.value_or(INT64_MAX);
    std::error_code error;
    if (limit > 0 && fs::is_directory(source.path, error)) {
      read_image_folder(source.path, source, limit, records);
      continue;
    }
    int64_t left = limit;
    for (const std::string& path : limit > 0 ? expand_path(source.path) : std::vector<std::string>()) {
      const FileKind* const kind = file_kind(path);
      if (kind == nullptr || kind->is_plain_text) {
        config_error(where + ".path", "unknown kind of file: found " + path + ", expected a folder of images, or rows in a file that " +
                                          "ends in " + file_endings(" or ", /*with_text=*/false));
      }
      const size_t before = records.all.size();
      if (left > 0) {
        read_image_rows(path, *kind, source, left, records);
      }
      left -= static_cast<int64_t>(records.all.size() - before);
    }
  }
  return records;
}

}  // namespace lora::data

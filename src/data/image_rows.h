#pragma once
#include <set>
#include <string>
#include <vector>

#include "data/fields.h"
#include "lora/data/dataset.h"

namespace lora::data {

/// An image of a set, and how it is used.
struct ImageRecord {
  std::string file;
  std::vector<std::string> captions;  ///< each use has one of them; none: it has no caption
  double weight = 1.0;                ///< expected uses in an epoch
  bool is_prior = false;
  Origin origin;
};

/// The images that sources name.
struct ImageRecords {
  std::vector<ImageRecord> all;
  std::vector<SourceFile> files;            ///< of rows and captions
  std::vector<std::string> unused_columns;  ///< as DataReport
};

/// Whether the row is marked as one of the class in general ("prior"; a CSV file holds it as text). Throws data Error for any other value.
bool is_prior_row(const Fields& fields);

/// The rows of a file: {"file_name", optional "text" (a text or a list), "weight", "prior"}, at most `limit`. Relative paths are relative
/// to the folder of the rows' file and may leave it. Throws data Error "[file:line] …" for a missing or wrong field, and for a file_name
/// that is no file.
void read_image_rows(const std::string& path, const FileKind& kind, const SourceOptions& source, int64_t limit, ImageRecords& records);

/// The images of a folder, sorted by name, at most `limit`: the rows of its metadata.jsonl or metadata.csv, if there is one; otherwise
/// those in it, with their captions in files next to them (.txt or .caption), and those in its folders "10_some words" (kohya's tools),
/// each of which is used that often and has the words as the caption of images without one. Throws data Error for a folder without
/// images, a kind of images that is not supported, two caption files of one image, and two files of metadata.
void read_image_folder(const std::string& folder, const SourceOptions& source, int64_t limit, ImageRecords& records);

/// The images of all sources of a set. @param name of the set, for messages ("data.train"). Throws what the two functions above throw, and
/// config Error for a source of another format, or a path that is neither a folder nor a file of rows.
ImageRecords read_image_sources(const std::string& name, const std::vector<SourceOptions>& sources);

}  // namespace lora::data

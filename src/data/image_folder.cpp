#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <optional>

#include "data/image_rows.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/input_file.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/image/decode.h"

namespace lora::data {
namespace {

constexpr std::array<std::string_view, 4> kImageEndings{".jpg", ".jpeg", ".png", ".webp"};
constexpr std::array<std::string_view, 10> kOtherEndings{".bmp",  ".gif",  ".tif", ".tiff", ".avif",
                                                         ".heic", ".heif", ".jxl", ".jp2",  ".svg"};
constexpr std::array<std::string_view, 2> kCaptionEndings{".txt", ".caption"};
constexpr InputLimits kCaptionFile{size_t{1} << 20, false};

template <size_t N>
bool ends_like(const fs::path& file, const std::array<std::string_view, N>& endings) {
  std::string ending = file.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return std::find(endings.begin(), endings.end(), ending) != endings.end();
}

/// What a folder holds, sorted by name; hidden entries are left out.
struct Listing {
  std::vector<fs::path> images;
  std::vector<fs::path> folders;
};

Listing list(const fs::path& folder) {
  Listing listing;
  std::error_code error;
  std::vector<fs::path> entries;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    entries.push_back(entry.path());
  }
  if (error) {
    data_error(folder.string(), "the folder cannot be read: " + error.message());
  }
  std::sort(entries.begin(), entries.end());
  for (const fs::path& entry : entries) {
    if (entry.filename().string().starts_with(".")) {
      continue;
    }
    if (fs::is_directory(entry, error)) {
      listing.folders.push_back(entry);
    } else if (ends_like(entry, kOtherEndings)) {
      data_error(entry.string(), "found an image of another kind, expected " + image::known_kinds() +
                                     ". Convert it, for instance to PNG, or move it out of the folder.");
    } else if (ends_like(entry, kImageEndings)) {
      listing.images.push_back(entry);
    }
  }
  return listing;
}

/// The repeats and words of a folder that is named as kohya's tools want it: "10_some words".
struct Repeats {
  int64_t count = 1;
  std::string words;
};

std::optional<Repeats> repeats_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  Repeats repeats;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), repeats.count);
  if (error != std::errc() || end == name.data() + name.size() || *end != '_' || repeats.count < 1 || repeats.count > 10'000) {
    return std::nullopt;
  }
  repeats.words = trim(std::string_view(end + 1, name.data() + name.size()));
  return repeats;
}

/// The text of the caption file next to an image, in which a line's end counts as a space; none: there is no such file.
std::optional<std::string> caption_of(const fs::path& image, ImageRecords& records) {
  std::optional<fs::path> found;
  for (const std::string_view ending : kCaptionEndings) {
    const fs::path file = fs::path(image).replace_extension(ending);
    std::error_code error;
    if (!fs::exists(file, error)) {
      continue;
    }
    if (found) {
      data_error(image.string(), "the image has two captions: found " + found->filename().string() + " and " + file.filename().string() +
                                     " next to it, expected one of them");
    }
    found = file;
  }
  if (!found) {
    return std::nullopt;
  }
  const std::string text = read_file(*found, ErrorKind::kData, kCaptionFile);
  records.files.push_back({found->string(), sha256(text)});
  return join(split(trim(text), '\n'), " ");
}

class FolderReader {
 public:
  FolderReader(const SourceOptions& source, int64_t limit, ImageRecords& records) : source_(source), left_(limit), records_(records) {}

  void read(const fs::path& folder) {
    const Listing listing = list(folder);
    add(listing.images, {});
    for (const fs::path& inner : listing.folders) {
      const std::optional<Repeats> repeats = repeats_of(inner);
      if (repeats) {
        add(list(inner).images, *repeats);
      } else {
        log::warn("[" + inner.string() + "] the folder is not read: found a name without a number of repeats, expected for example \"10_" +
                  inner.filename().string() + "\"");
      }
    }
    if (!has_images_) {
      data_error(folder.string(), "the folder has no images: expected " + image::known_kinds() +
                                      " files in it or in folders such as \"10_name\", or a metadata.jsonl that names them");
    }
  }

 private:
  void add(const std::vector<fs::path>& images, const Repeats& repeats) {
    has_images_ = has_images_ || !images.empty();
    for (const fs::path& image : images) {
      if (left_ == 0) {
        return;
      }
      --left_;
      const std::string caption = caption_of(image, records_).value_or(repeats.words);
      ImageRecord record;
      record.file = image.string();
      record.origin = {std::make_shared<const std::string>(record.file), 0};
      record.weight = source_.weight * static_cast<double>(repeats.count);
      record.is_prior = source_.prior;
      if (!caption.empty()) {
        record.captions.push_back(caption);
      }
      records_.all.push_back(std::move(record));
    }
  }

  const SourceOptions& source_;
  int64_t left_;
  ImageRecords& records_;
  bool has_images_ = false;
};

}  // namespace

void read_image_folder(const std::string& folder, const SourceOptions& source, int64_t limit, ImageRecords& records) {
  std::vector<fs::path> metadata;
  for (const char* const name : {"metadata.jsonl", "metadata.csv"}) {
    std::error_code error;
    if (fs::is_regular_file(fs::path(folder) / name, error)) {
      metadata.push_back(fs::path(folder) / name);
    }
  }
  if (metadata.size() > 1) {
    data_error(folder, "the folder has two files of metadata: found metadata.jsonl and metadata.csv, expected one of them");
  }
  if (!metadata.empty()) {
    const std::string file = metadata.front().string();
    read_image_rows(file, *file_kind(file), source, limit, records);
    return;
  }
  FolderReader(source, limit, records).read(folder);
}

}  // namespace lora::data

#include "lora/data/rows.h"

#include <algorithm>
#include <array>
#include <vector>

#include "data/csv_rows.h"
#include "data/json_rows.h"
#include "data/row_input.h"
#include "data/text_rows.h"
#include "lora/base/file.h"
#include "lora/base/input_file.h"
#include "lora/base/text.h"

namespace lora::data {
namespace {

constexpr std::array<FileKind, 4> kFileKinds{{{".jsonl", false, find_json_lines},
                                              {".json", false, find_json_rows},
                                              {".csv", false, find_csv_rows},
                                              {".txt", true, find_text_rows}}};
constexpr const FileKind& kJsonLines = kFileKinds.front();

}  // namespace

const FileKind* file_kind(const std::string& path) {
  if (path == "-") {
    return &kJsonLines;
  }
  std::string_view name = path;
  if (name.ends_with(".gz")) {
    name.remove_suffix(3);
  }
  const auto* const found =
      std::find_if(kFileKinds.begin(), kFileKinds.end(), [name](const FileKind& kind) { return name.ends_with(kind.ending); });
  if (found != kFileKinds.end()) {
    return found;
  }
  return is_pipe(path) ? &kJsonLines : nullptr;
}

std::string file_endings(const std::string& last, bool with_text) {
  std::vector<std::string> endings;
  for (const FileKind& kind : kFileKinds) {
    if (with_text || !kind.is_plain_text) {
      endings.emplace_back(kind.ending);
    }
  }
  const std::string end = endings.back();
  endings.pop_back();
  return join(endings) + last + end;
}

std::string known_endings() {
  return file_endings() + ", each also with .gz";
}

std::string find_rows(const std::string& path, const FileKind& kind, const PendingRowSink& sink, const Consumed& consumed,
                      TextDocuments documents) {
  if (path == "-" || is_pipe(path)) {  // can be read only once
    std::string text = path == "-" ? read_stdin() : read_all(open_file(path, [](int64_t) {}), path);
    std::string hash = sha256(text);
    RowInput input(path == "-" ? kStdinName : path, std::move(text), consumed, documents);
    kind.find_rows(input, sink);
    return hash;
  }
  RowInput input(path, consumed, documents);
  kind.find_rows(input, sink);
  return sha256_of_file(path, ErrorKind::kData);
}

std::string read_rows(const std::string& path, const FileKind& kind, const RowSink& sink, TextDocuments documents) {
  return find_rows(
      path, kind, [&sink](const PendingRow& row) { return sink(row.parse()); }, [](int64_t) {}, documents);
}

}  // namespace lora::data

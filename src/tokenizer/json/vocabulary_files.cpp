#include "tokenizer/json/vocabulary_files.h"

#include <algorithm>
#include <string_view>
#include <unordered_map>

#include "lora/base/bundle.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/input_file.h"
#include "lora/base/text.h"
#include "tokenizer/unicode/properties.h"
#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer {
namespace {

namespace fs = std::filesystem;

/// The line without trailing Unicode white space.
std::string_view trimmed(std::string_view line) {
  while (!line.empty()) {
    const size_t last = previous_begin(line, line.size());
    size_t at = last;
    if (!is_space(next_code_point(line, at))) {
      break;
    }
    line = line.substr(0, last);
  }
  return line;
}

/// Calls take(line) for each line, without trailing white space.
template <typename Take>
void for_each_line(const fs::path& file, const Take& take) {
  const std::string text = read_file(file, ErrorKind::kModel);
  if (invalid_utf8_at(text) != std::string::npos) {
    model_error(file.string(), "found bytes that are not UTF-8, expected text. Likely cause: a damaged file.");
  }
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    take(trimmed(std::string_view(text).substr(begin, end - begin)));
    begin = end + 1;
  }
}

/// One token per line, whose id is the line number. For equal lines the last one is used.
Json read_vocab_txt(const fs::path& file) {
  std::vector<std::string> tokens;
  std::unordered_map<std::string, size_t> last;
  for_each_line(file, [&](std::string_view line) {
    last[std::string(line)] = tokens.size();
    tokens.emplace_back(line);
  });
  Json::object_t vocab;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (last[tokens[i]] == i) {
      vocab.emplace_back(tokens[i], i);  // emplace would search for the key
    }
  }
  return {{"type", "WordPiece"}, {"vocab", std::move(vocab)}};
}

Json read_bpe(const fs::path& vocab, const fs::path& merges) {
  Json list = Json::array();
  for_each_line(merges, [&list](std::string_view line) {
    if (!line.empty() && !line.starts_with("#version")) {
      list.push_back(line);
    }
  });
  return {{"type", "BPE"}, {"vocab", read_json(vocab, ErrorKind::kModel, kTokenizerFile)}, {"merges", std::move(list)}};
}

}  // namespace

std::vector<fs::path> find_vocabulary_files(const fs::path& folder) {
  if (is_file(folder / "vocab.txt")) {
    return {folder / "vocab.txt"};
  }
  if (is_file(folder / "vocab.json") && is_file(folder / "merges.txt")) {
    return {folder / "vocab.json", folder / "merges.txt"};
  }
  return {};
}

Json read_vocabulary_files(const std::vector<fs::path>& files) {
  return {{"model", files.size() == 1 ? read_vocab_txt(files[0]) : read_bpe(files[0], files[1])}};
}

}  // namespace lora::tokenizer

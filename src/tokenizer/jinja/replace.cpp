#include "tokenizer/jinja/replace.h"

#include "tokenizer/jinja/python_text.h"
#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer::jinja {
namespace {

/// Inserts `with` before every character and at the end.
std::string interleaved(Runtime& runtime, const std::string& text, const std::string& with, int64_t count) {
  std::string result;
  size_t at = 0;
  for (int64_t done = 0; count < 0 || done < count; ++done) {
    runtime.reserve(with.size() + 1);
    result += with;
    if (at == text.size()) {
      return result;
    }
    const size_t size = utf8_length(static_cast<unsigned char>(text[at]));
    result.append(text, at, size);
    at += size;
  }
  return result + text.substr(at);
}

}  // namespace

std::string replaced(Runtime& runtime, const std::string& text, const std::string& old, const std::string& with, int64_t count) {
  runtime.reserve(text.size());
  if (old.empty()) {
    return interleaved(runtime, text, with, count);
  }
  std::string result;
  size_t done = 0;
  for (size_t at = text.find(old); at != std::string::npos && count != 0; at = text.find(old, done)) {
    runtime.reserve(with.size() + 1);
    result.append(text, done, at - done);
    result += with;
    done = at + old.size();
    --count;
  }
  return result.append(text, done, std::string::npos);
}

}  // namespace lora::tokenizer::jinja

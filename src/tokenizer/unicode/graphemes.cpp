#include "tokenizer/unicode/graphemes.h"

#include <unicode/uchar.h>

#include "tokenizer/unicode/properties.h"
#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer {
namespace {

/// Whether a cluster ends behind this character whatever follows (rule GB4).
bool ends_cluster(char32_t code) {
  const int32_t kind = u_getIntPropertyValue(static_cast<UChar32>(code), UCHAR_GRAPHEME_CLUSTER_BREAK);
  return kind == U_GCB_CONTROL || kind == U_GCB_CR || kind == U_GCB_LF;
}

/// Where the cluster that begins at `begin` ends.
size_t end_of_cluster(std::string_view text, size_t begin) {
  size_t end = begin;
  const char32_t first = next_code_point(text, end);
  if (first == U'\r' && text.substr(end).starts_with('\n')) {
    return end + 1;
  }
  // Nothing in ASCII joins.
  if (end == text.size() || static_cast<unsigned char>(text[end]) < 0x80 || ends_cluster(first)) {
    return end;
  }
  for (size_t at = end; at < text.size() && is_joining(next_code_point(text, at));) {
    end = at;
  }
  return end;
}

}  // namespace

void for_each_grapheme(std::string_view text, const std::function<void(std::string_view)>& take) {
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = end_of_cluster(text, begin);
    take(text.substr(begin, end - begin));
    begin = end;
  }
}

}  // namespace lora::tokenizer

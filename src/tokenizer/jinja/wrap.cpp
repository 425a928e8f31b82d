#include "tokenizer/jinja/wrap.h"

#include <algorithm>

#include "tokenizer/jinja/python_text.h"
#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer::jinja {
namespace {

using Characters = std::u32string;

Characters decoded(std::string_view text) {
  Characters result;
  for (size_t at = 0; at < text.size();) {
    result += next_code_point(text, at);
  }
  return result;
}

std::string encoded(const Characters& text) {
  std::string result;
  for (const char32_t code : text) {
    append_utf8(result, code);
  }
  return result;
}

/// White space of textwrap: only that of ASCII.
bool is_break(char32_t code) {
  return (code >= 0x09 && code <= 0x0d) || code == ' ';
}

/// Python's \w.
bool is_word(char32_t code) {
  return code == '_' || is_alphanumeric(code);
}

bool is_letter(char32_t code) {
  return is_word(code) && !is_decimal(code);
}

bool is_word_or_mark(char32_t code) {
  return is_word(code) || Characters(U"!\"'&.,?").find(code) != Characters::npos;
}

/// Splits a text into words and white space; words also after hyphens and around dashes of two hyphens or more.
class Chunks {
 public:
  Chunks(const Characters& text, bool breaks_on_hyphens) : text_(text), breaks_on_hyphens_(breaks_on_hyphens) {}

  std::vector<Characters> all() const {
    std::vector<Characters> chunks;
    for (size_t begin = 0; begin < text_.size();) {
      const size_t end = end_of_chunk(begin);
      chunks.push_back(text_.substr(begin, end - begin));
      begin = end;
    }
    return chunks;
  }

 private:
  bool has(size_t at, bool (*property)(char32_t)) const { return at < text_.size() && property(text_[at]); }
  bool has_hyphen(size_t at) const { return at < text_.size() && text_[at] == '-'; }

  /// The end of a dash between words that begins at `at`; `at` where there is none.
  size_t end_of_dash(size_t at) const {
    size_t end = at;
    while (has_hyphen(end)) {
      ++end;
    }
    return at > 0 && is_word_or_mark(text_[at - 1]) && end >= at + 2 && has(end, is_word) ? end : at;
  }

  /// Whether a word may be broken after the hyphen at `at`.
  bool is_inner_hyphen(size_t at) const {
    const bool follows_letters = at >= 2 && is_letter(text_[at - 1]) && is_letter(text_[at - 2]);
    const bool follows_hyphen = at >= 3 && is_letter(text_[at - 1]) && text_[at - 2] == '-' && is_letter(text_[at - 3]);
    return has_hyphen(at) && (follows_letters || follows_hyphen) && has(at + 1, is_letter) &&
           (has(at + 2, is_letter) || (has_hyphen(at + 2) && has(at + 3, is_letter)));
  }

  size_t end_of_chunk(size_t begin) const {
    size_t end = begin;
    if (is_break(text_[begin])) {
      while (has(end, is_break)) {
        ++end;
      }
      return end;
    }
    if (breaks_on_hyphens_ && end_of_dash(begin) > begin) {
      return end_of_dash(begin);
    }
    for (end = begin + 1; end < text_.size() && !is_break(text_[end]); ++end) {
      if (breaks_on_hyphens_ && is_inner_hyphen(end)) {
        return end + 1;
      }
      if (breaks_on_hyphens_ && end_of_dash(end) > end) {
        return end;
      }
    }
    return end;
  }

  const Characters& text_;
  bool breaks_on_hyphens_;
};

bool is_blank(const Characters& text) {
  return std::all_of(text.begin(), text.end(), is_python_space);
}

/// The offset at which a word that is too long for a line is broken if `space` characters of this line are free.
size_t cut_of(const Characters& word, size_t space, bool breaks_on_hyphens) {
  if (breaks_on_hyphens && word.size() > space && space > 0) {
    const size_t hyphen = word.rfind('-', space - 1);
    if (hyphen != Characters::npos && word.find_first_not_of('-') < hyphen) {
      return hyphen + 1;
    }
  }
  return std::min(space, word.size());
}

}  // namespace

// The steps of textwrap.TextWrapper in its order, on which the dropped white space depends.
std::vector<std::string> wrapped_lines(Runtime& runtime, const std::string& paragraph, const WrapStyle& style) {
  runtime.reserve(16 * paragraph.size());
  const auto width = static_cast<size_t>(style.width);
  const Characters text = decoded(paragraph);
  std::vector<Characters> chunks = Chunks(text, style.breaks_on_hyphens).all();
  std::vector<std::string> lines;
  for (size_t next = 0; next < chunks.size();) {
    runtime.work(1);
    if (!lines.empty() && is_blank(chunks[next])) {
      ++next;
    }
    std::vector<Characters> line;
    size_t size = 0;
    while (next < chunks.size() && size + chunks[next].size() <= width) {
      size += chunks[next].size();
      line.push_back(std::move(chunks[next++]));
    }
    if (next < chunks.size() && chunks[next].size() > width) {
      if (style.breaks_long_words) {
        const size_t cut = cut_of(chunks[next], width - size, style.breaks_on_hyphens);
        line.push_back(chunks[next].substr(0, cut));
        chunks[next].erase(0, cut);
      } else if (line.empty()) {
        line.push_back(std::move(chunks[next++]));
      }
    }
    if (!line.empty() && is_blank(line.back())) {
      line.pop_back();
    }
    if (!line.empty()) {
      Characters whole;
      for (const Characters& chunk : line) {
        whole += chunk;
      }
      lines.push_back(encoded(whole));
    }
  }
  return lines;
}

}  // namespace lora::tokenizer::jinja

#include "tokenizer/unicode/graphemes.h"

#include <unicode/brkiter.h>
#include <unicode/utext.h>

#include <memory>

#include "lora/base/error.h"

namespace lora::tokenizer {
namespace {

void check(UErrorCode status) {
  if (U_FAILURE(status)) {
    throw Error(ErrorKind::kUnforeseen, "tokenizer", std::string("ICU cannot find characters: ") + u_errorName(status));
  }
}

struct CloseText {
  void operator()(UText* text) const { utext_close(text); }
};

const icu::BreakIterator& prototype() {
  static const std::unique_ptr<icu::BreakIterator> made = [] {
    UErrorCode status = U_ZERO_ERROR;
    std::unique_ptr<icu::BreakIterator> breaks(icu::BreakIterator::createCharacterInstance(icu::Locale::getRoot(), status));
    check(status);
    return breaks;
  }();
  return *made;
}

/// ICU's iterator, made when the first chunk needs it.
class Clusters {
 public:
  void take_each(std::string_view text, const std::function<void(std::string_view)>& take) {
    if (breaks_ == nullptr) {
      breaks_.reset(prototype().clone());
    }
    UErrorCode status = U_ZERO_ERROR;
    const std::unique_ptr<UText, CloseText> view(utext_openUTF8(nullptr, text.data(), static_cast<int64_t>(text.size()), &status));
    check(status);
    breaks_->setText(view.get(), status);
    check(status);
    int32_t begin = breaks_->first();
    for (int32_t end = breaks_->next(); end != icu::BreakIterator::DONE; begin = end, end = breaks_->next()) {
      take(text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
    }
  }

 private:
  std::unique_ptr<icu::BreakIterator> breaks_;
};

/// Whether there is always a cut between two characters: both are ASCII, and no line end of two.
bool is_cut(char before, char after) {
  return static_cast<unsigned char>(before) < 0x80 && static_cast<unsigned char>(after) < 0x80 && !(before == '\r' && after == '\n');
}

}  // namespace

void for_each_grapheme(std::string_view text, const std::function<void(std::string_view)>& take) {
  Clusters clusters;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = begin + 1;
    while (end < text.size() && !is_cut(text[end - 1], text[end])) {
      ++end;
    }
    const std::string_view chunk = text.substr(begin, end - begin);
    chunk.size() == 1 ? take(chunk) : clusters.take_each(chunk, take);
    begin = end;
  }
}

}  // namespace lora::tokenizer

#include "tokenizer/unicode/normal_form.h"

#include <unicode/edits.h>
#include <unicode/normalizer2.h>
#include <unicode/uniset.h>

#include <algorithm>
#include <vector>

#include "lora/base/error.h"
#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer {
namespace {

constexpr size_t kLongRun = 64;

void check(UErrorCode status) {
  if (U_FAILURE(status)) {
    throw Error(ErrorKind::kUnforeseen, "tokenizer", std::string("ICU cannot normalise: ") + u_errorName(status));
  }
}

const icu::UnicodeSet& known_characters() {
  static const icu::UnicodeSet set = [] {
    UErrorCode status = U_ZERO_ERROR;
    icu::UnicodeSet known(icu::UnicodeString("[:age=9.0:]"), status);
    check(status);
    known.freeze();
    return known;
  }();
  return set;
}

icu::FilteredNormalizer2 make(const icu::Normalizer2* (*instance)(UErrorCode&)) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* normalizer = instance(status);
  check(status);
  return {*normalizer, known_characters()};
}

const icu::Normalizer2& normalizer(NormalForm form) {
  static const icu::FilteredNormalizer2 nfc = make(&icu::Normalizer2::getNFCInstance);
  static const icu::FilteredNormalizer2 nfd = make(&icu::Normalizer2::getNFDInstance);
  static const icu::FilteredNormalizer2 nfkc = make(&icu::Normalizer2::getNFKCInstance);
  static const icu::FilteredNormalizer2 nfkd = make(&icu::Normalizer2::getNFKDInstance);
  switch (form) {
    case NormalForm::kNfc:
      return nfc;
    case NormalForm::kNfd:
      return nfd;
    case NormalForm::kNfkc:
      return nfkc;
    case NormalForm::kNfkd:
      return nfkd;
  }
  return nfc;
}

/// ICU sorts marks one by one; a long run of them is sorted here at once, so that the work stays within n log n. The order of
/// marks of one class stays, so the normal form is the same.
void sort_long_runs(std::string& text, const icu::Normalizer2& normalizer) {
  struct Mark {
    uint8_t order;
    size_t begin, size;
  };
  std::vector<Mark> run;
  const auto sort_run = [&] {
    if (run.size() > kLongRun) {
      const size_t begin = run.front().begin;
      std::stable_sort(run.begin(), run.end(), [](const Mark& a, const Mark& b) { return a.order < b.order; });
      std::string sorted;
      for (const Mark& mark : run) {
        sorted += text.substr(mark.begin, mark.size);
      }
      text.replace(begin, sorted.size(), sorted);
    }
    run.clear();
  };
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const uint8_t order = normalizer.getCombiningClass(static_cast<UChar32>(next_code_point(text, at)));
    if (order == 0) {
      sort_run();
    } else {
      run.push_back({order, begin, at - begin});
    }
  }
  sort_run();
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

}  // namespace

AlignedText to_normal_form(AlignedText input, NormalForm form) {
  if (is_ascii(input.text)) {
    return input;
  }
  sort_long_runs(input.text, normalizer(form));
  AlignedText result;
  icu::StringByteSink<std::string> sink(&result.text);
  icu::Edits edits;
  UErrorCode status = U_ZERO_ERROR;
  normalizer(form).normalizeUTF8(0, input.text, sink, &edits, status);
  check(status);
  // What the first characters became comes from them too; where marks were moved among them, this is the nearest there is.
  size_t from = 0;
  size_t to = 0;
  for (auto edit = edits.getFineIterator(); from < input.num_first && edit.next(status);) {
    from += static_cast<size_t>(edit.oldLength());
    to += static_cast<size_t>(edit.newLength());
    if (!edit.hasChange() && from > input.num_first) {
      to -= from - input.num_first;
    }
  }
  result.num_first = to;
  return result;
}

}  // namespace lora::tokenizer

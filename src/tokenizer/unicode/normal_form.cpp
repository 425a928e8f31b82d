#include "tokenizer/unicode/normal_form.h"

#include <unicode/normalizer2.h>
#include <unicode/uniset.h>

#include <algorithm>
#include <optional>
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
/// marks of one class is kept, so the normal form is the same.
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

/// A character of a normal form, with the change by which `tokenizers` tracks positions: 0 replaces the next character of the input,
/// +1 is an additional character, -n replaces n + 1 characters.
struct Placed {
  char32_t code;
  uint8_t order;
  int change;
};

/// `text` decomposed, with its marks in canonical order.
std::vector<Placed> decomposed(std::string_view text, const icu::Normalizer2& normalizer) {
  std::vector<Placed> all;
  icu::UnicodeString parts;
  for (size_t at = 0; at < text.size();) {
    const auto code = static_cast<UChar32>(next_code_point(text, at));
    if (!normalizer.getDecomposition(code, parts)) {
      parts.setTo(code);
    }
    for (int32_t i = 0; i < parts.length(); i = parts.moveIndex32(i, 1)) {
      const UChar32 part = parts.char32At(i);
      all.push_back({static_cast<char32_t>(part), normalizer.getCombiningClass(part), i > 0 ? 1 : 0});
    }
  }
  for (auto begin = all.begin(); begin != all.end();) {
    const auto end = std::find_if(begin, all.end(), [](const Placed& placed) { return placed.order == 0; });
    std::stable_sort(begin, end, [](const Placed& a, const Placed& b) { return a.order < b.order; });
    begin = end == all.end() ? end : end + 1;
  }
  return all;
}

/// The canonical composition of decomposed characters (UAX #15, section 1.3).
std::vector<Placed> composed(const std::vector<Placed>& parts, const icu::Normalizer2& normalizer) {
  std::vector<Placed> all;
  std::optional<size_t> starter;
  for (const Placed& part : parts) {
    const bool blocked = starter && all.size() > *starter + 1 && all.back().order >= part.order;
    const UChar32 both =
        starter && !blocked ? normalizer.composePair(static_cast<UChar32>(all[*starter].code), static_cast<UChar32>(part.code)) : -1;
    if (both >= 0) {
      all[*starter] = {static_cast<char32_t>(both), 0, all[*starter].change + part.change - 1};
      continue;
    }
    if (part.order == 0) {
      starter = all.size();
    }
    all.push_back(part);
  }
  return all;
}

/// The number of bytes at the beginning of the normal form that `tokenizers` assigns to the first `num_first` bytes of `text`.
size_t bytes_of_first(std::string_view text, size_t num_first, NormalForm form) {
  const icu::Normalizer2& rules = normalizer(form);
  size_t end = num_first;
  for (size_t at = end; at < text.size() && !rules.hasBoundaryBefore(static_cast<UChar32>(next_code_point(text, at)));) {
    end = at;
  }
  std::vector<Placed> placed = decomposed(text.substr(0, end), rules);
  if (form == NormalForm::kNfc || form == NormalForm::kNfkc) {
    placed = composed(placed, rules);
  }
  std::string first;
  size_t from = 0;
  for (const Placed& each : placed) {
    const size_t place = each.change > 0 ? from - std::min<size_t>(from, 1) : from;
    if (place >= num_first) {
      break;
    }
    append_utf8(first, each.code);
    for (int taken = each.change; taken <= 0 && from < text.size(); ++taken) {
      next_code_point(text, from);
    }
  }
  return first.size();
}

bool is_ascii_text(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

}  // namespace

AlignedText to_normal_form(AlignedText input, NormalForm form) {
  if (is_ascii_text(input.text)) {
    return input;
  }
  AlignedText result;
  result.num_first = bytes_of_first(input.text, input.num_first, form);
  sort_long_runs(input.text, normalizer(form));
  icu::StringByteSink<std::string> sink(&result.text);
  UErrorCode status = U_ZERO_ERROR;
  normalizer(form).normalizeUTF8(0, input.text, sink, nullptr, status);
  check(status);
  return result;
}

}  // namespace lora::tokenizer

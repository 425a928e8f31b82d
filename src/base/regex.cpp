#include "lora/base/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <optional>

#include "lora/base/text.h"

namespace lora {

namespace {

/// The backtracking steps that one match may take: far more than any reasonable pattern needs for a module name.
constexpr uint32_t kMatchLimit = 1'000'000;

std::string message_of(int code) {
  PCRE2_UCHAR8 buffer[256];
  pcre2_get_error_message_8(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

using MatchData = std::unique_ptr<pcre2_match_data_8, decltype(&pcre2_match_data_free_8)>;

}  // namespace

struct Regex::Impl {
  std::string pattern;
  std::string where;
  ErrorKind kind;
  pcre2_code_8* code = nullptr;
  pcre2_match_context_8* context = nullptr;

  ~Impl() {
    pcre2_code_free_8(code);
    pcre2_match_context_free_8(context);
  }

  /// The match, or null. Throws Error when the limits are exceeded.
  MatchData match(std::string_view text, uint32_t options) const {
    MatchData data(pcre2_match_data_create_from_pattern_8(code, nullptr), &pcre2_match_data_free_8);
    const int result =
        pcre2_match_8(code, reinterpret_cast<PCRE2_SPTR8>(text.data()), text.size(), 0, options, data.get(), context);
    if (result == PCRE2_ERROR_NOMATCH) {
      data.reset();
    } else if (result < 0) {
      throw Error(kind, where,
                  "the regular expression '" + printable(pattern) + "' failed on '" + printable(text) + "': " + message_of(result));
    }
    return data;
  }
};

Regex::Regex(const std::string& pattern, const std::string& where, ErrorKind kind) {
  auto impl = std::make_shared<Impl>();
  impl->pattern = pattern;
  impl->where = where;
  impl->kind = kind;
  int error = 0;
  PCRE2_SIZE offset = 0;
  impl->code =
      pcre2_compile_8(reinterpret_cast<PCRE2_SPTR8>(pattern.data()), pattern.size(), PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr);
  if (impl->code == nullptr) {
    throw Error(kind, where,
                "'" + printable(pattern) + "' is not a valid regular expression: " + message_of(error) + " at position " +
                    std::to_string(offset));
  }
  impl->context = pcre2_match_context_create_8(nullptr);
  pcre2_set_match_limit_8(impl->context, kMatchLimit);
  impl_ = std::move(impl);
}

bool Regex::matches_whole(std::string_view text) const {
  return impl_->match(text, PCRE2_ANCHORED | PCRE2_ENDANCHORED) != nullptr;
}

bool Regex::found_in(std::string_view text) const {
  return impl_->match(text, 0) != nullptr;
}

std::string Regex::replaced(std::string_view text, const std::string& replacement) const {
  std::string result(4 * text.size() + replacement.size() + 256, '\0');
  for (;;) {
    PCRE2_SIZE size = result.size();
    const int count = pcre2_substitute_8(impl_->code, reinterpret_cast<PCRE2_SPTR8>(text.data()), text.size(), 0,
                                         PCRE2_SUBSTITUTE_GLOBAL | PCRE2_SUBSTITUTE_OVERFLOW_LENGTH, nullptr, impl_->context,
                                         reinterpret_cast<PCRE2_SPTR8>(replacement.data()), replacement.size(),
                                         reinterpret_cast<PCRE2_UCHAR8*>(result.data()), &size);
    if (count == PCRE2_ERROR_NOMEMORY) {
      result.resize(size);
      continue;
    }
    if (count < 0) {
      throw Error(impl_->kind, impl_->where,
                  "'" + printable(replacement) + "' cannot replace '" + printable(impl_->pattern) + "': " + message_of(count));
    }
    result.resize(size);
    return result;
  }
}

std::string Regex::group_at_start(std::string_view text, const std::string& group) const {
  const MatchData data = impl_->match(text, PCRE2_ANCHORED);
  if (data == nullptr) {
    return "";
  }
  PCRE2_UCHAR8* found = nullptr;
  PCRE2_SIZE length = 0;
  if (pcre2_substring_get_byname_8(data.get(), reinterpret_cast<PCRE2_SPTR8>(group.c_str()), &found, &length) != 0) {
    return "";
  }
  std::string result(reinterpret_cast<const char*>(found), length);
  pcre2_substring_free_8(found);
  return result;
}

}  // namespace lora

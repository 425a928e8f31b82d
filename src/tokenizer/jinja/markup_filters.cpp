#include <algorithm>
#include <set>

#include "lora/base/regex.h"
#include "tokenizer/jinja/filters.h"
#include "tokenizer/jinja/markup.h"
#include "tokenizer/jinja/operations.h"
#include "tokenizer/jinja/python_text.h"
#include "tokenizer/jinja/replace.h"
#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer::jinja {
namespace {

Value escape(Runtime& runtime, const Value& value, ArgumentReader&) {
  const std::string text = text_of(runtime, value);
  runtime.reserve(text.size());
  return runtime.text(escaped(text));
}

Value strip_tags(Runtime& runtime, const Value& value, ArgumentReader&) {
  const std::string text = text_of(runtime, value);
  runtime.reserve(2 * text.size());
  return runtime.text(without_tags(text));
}

/// A key or a value of a query: spaces become "+".
std::string query_part(Runtime& runtime, const Value& value) {
  const std::string text = text_of(runtime, value);
  runtime.reserve(3 * text.size() + 2);
  return replaced(runtime, percent_encoded(text, ""), "%20", "+", -1);
}

Value encode_url(Runtime& runtime, const Value& value, ArgumentReader&) {
  if (value.is_text() || !(is_iterable(value) || value.is_undefined())) {
    const std::string text = text_of(runtime, value);
    runtime.reserve(3 * text.size());
    return runtime.text(percent_encoded(text, "/"));
  }
  std::string query;
  const auto add = [&](const Value& key, const Value& item) {
    query += (query.empty() ? "" : "&") + query_part(runtime, key) + "=" + query_part(runtime, item);
  };
  if (const Mapping* mapping = value.mapping()) {
    for (const auto& [key, item] : mapping->entries) {
      add(key, item);
    }
    return runtime.text(std::move(query));
  }
  for (const Value& item : items_of(runtime, value)) {
    const std::vector<Value> pair = items_of(runtime, item);
    if (pair.size() != 2) {
      runtime.fail("urlencode() takes a dict or pairs of a key and a value: found an item of length " + std::to_string(pair.size()));
    }
    add(pair[0], pair[1]);
  }
  return runtime.text(std::move(query));
}

Value xml_attributes(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const bool adds_space = arguments.flag("autospace", true);
  if (value.mapping() == nullptr) {
    runtime.need_defined(value);
    runtime.fail("xmlattr() takes a dict, found '" + value.type() + "'");
  }
  std::string result;
  for (const auto& [key, item] : value.mapping()->entries) {
    if (item.is_none() || item.is_undefined()) {
      continue;
    }
    if (!key.is_text()) {
      runtime.fail("xmlattr(): the name of an attribute is '" + key.type() + "', expected a string");
    }
    if (key.text().find_first_of(" \t\n\r\f\v/>=") != std::string::npos) {
      runtime.fail("Invalid character in attribute name: " + python_literal(key.text()));
    }
    const std::string text = text_of(runtime, item);
    runtime.reserve(5 * (key.text().size() + text.size()) + 4);
    result += (result.empty() && !adds_space ? "" : " ") + escaped(key.text()) + "=\"" + escaped(text) + "\"";
  }
  return runtime.text(std::move(result));
}

/// A Python pattern whose \w and \d, which must be in brackets, are spelled out, because those of PCRE2 depend on its version.
Regex python_regex(std::string pattern) {
  for (const auto& [name, properties] : {std::pair("\\w", "\\p{L}\\p{N}_"), std::pair("\\d", "\\p{Nd}")}) {
    for (size_t at = pattern.find(name); at != std::string::npos; at = pattern.find(name, at)) {
      pattern.replace(at, 2, properties);
    }
  }
  return Regex(pattern, "urlize", ErrorKind::kData);
}

const Regex& url_regex() {
  static const Regex kUrl = python_regex(
      R"((?is)(?:(?:https?://|www\.)(?:(?:[\w%-]+\.)+)?(?:[a-z]{2,63}|xn--[\w%]{2,59}))"
      R"(|(?:[\w%-]{2,63}\.)+(?:com|net|int|edu|gov|org|info|mil))"
      R"(|https?://(?:[\d]{1,3}(?:\.[\d]{1,3}){3}|\[(?:[\da-f]{0,4}:){2}(?:[\da-f]{0,4}:?){1,6}\])))"
      R"((?::[\d]{1,5})?(?:[/?#].*)?)");
  return kUrl;
}

const Regex& email_regex() {
  static const Regex kEmail = python_regex(R"((?s).+@[\w][\w.-]*\.[\w]+)");
  return kEmail;
}

const Regex& scheme_regex() {
  static const Regex kScheme = python_regex(R"([\w.+-]{2,}:/{0,2})");
  return kScheme;
}

bool matches(Runtime& runtime, const Regex& regex, std::string_view text) {
  runtime.touch(text.size());
  try {
    return regex.matches_whole(text);
  } catch (const Error&) {
    runtime.fail("urlize(): a word of " + std::to_string(text.size()) + " bytes takes too many steps to match");
  }
}

struct LinkStyle {
  std::optional<int64_t> limit;  ///< for the displayed text, in characters
  std::string attributes;
  std::vector<std::string> schemes;

  std::string shown(const std::string& url) const {
    const auto size = static_cast<int64_t>(num_characters(url));
    if (!limit || size <= *limit) {
      return url;
    }
    const int64_t kept = *limit < 0 ? std::max<int64_t>(size + *limit, 0) : *limit;
    return url.substr(0, byte_of_character(url, static_cast<size_t>(kept))) + "...";
  }
};

/// The offset of the longest suffix of `text` that consists of `marks`.
size_t begin_of_tail(std::string_view text, std::initializer_list<std::string_view> marks) {
  size_t end = text.size();
  for (bool found = true; found;) {
    found = false;
    for (const std::string_view mark : marks) {
      if (text.substr(0, end).ends_with(mark)) {
        end -= mark.size();
        found = true;
      }
    }
  }
  return end;
}

size_t end_of_head(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const std::string_view rest = text.substr(at);
    const size_t size = rest.front() == '(' || rest.front() == '<' ? 1 : rest.starts_with("&lt;") ? 4 : 0;
    if (size == 0) {
      break;
    }
    at += size;
  }
  return at;
}

/// Moves closing brackets from the tail back to a word that has more opening than closing ones.
void balance(std::string& word, std::string& tail) {
  for (const auto& [open, close] : {std::pair("(", ")"), std::pair("<", ">"), std::pair("&lt;", "&gt;")}) {
    const size_t num_open = count_of(word, open);
    if (num_open <= count_of(word, close)) {
      continue;
    }
    for (size_t moves = std::min(num_open, count_of(tail, close)); moves > 0; --moves) {
      const size_t end = tail.find(close) + std::string_view(close).size();
      word += tail.substr(0, end);
      tail.erase(0, end);
    }
  }
}

std::string linked(Runtime& runtime, std::string word, const LinkStyle& style) {
  const auto link = [&](const std::string& start, const std::string& shown) {
    return "<a href=\"" + start + word + "\"" + style.attributes + ">" + shown + "</a>";
  };
  const auto starts = [&word](std::string_view start) { return word.starts_with(start); };
  if (matches(runtime, url_regex(), word)) {
    return link(starts("https://") || starts("http://") ? "" : "https://", style.shown(word));
  }
  if (starts("mailto:") && matches(runtime, email_regex(), word.substr(7))) {
    return "<a href=\"" + word + "\">" + word.substr(7) + "</a>";
  }
  if (word.find('@') != std::string::npos && !starts("www.") && !starts("@") && word.find(':') == std::string::npos &&
      matches(runtime, email_regex(), word)) {
    return "<a href=\"mailto:" + word + "\">" + word + "</a>";
  }
  for (const std::string& scheme : style.schemes) {
    if (word != scheme && starts(scheme)) {
      word = link("", word);
    }
  }
  return word;
}

LinkStyle link_style(Runtime& runtime, ArgumentReader& arguments) {
  LinkStyle style;
  const Value limit = arguments.next("trim_url_limit").value_or(Value());
  if (!limit.is_none() && !limit.is_integer() && !limit.is_bool()) {
    runtime.fail("urlize(): trim_url_limit is '" + limit.type() + "', expected an integer");
  }
  style.limit = limit.is_none() ? std::nullopt : std::optional(limit.integer());
  const bool no_follow = arguments.flag("nofollow", false);
  const std::string target = arguments.text("target", "");
  const std::vector<std::string> named = split_text(arguments.text("rel", ""), std::nullopt, -1, false);
  std::set<std::string> relations(named.begin(), named.end());
  relations.insert("noopener");
  if (no_follow) {
    relations.insert("nofollow");
  }
  for (const std::string& relation : relations) {
    style.attributes += (style.attributes.empty() ? " rel=\"" : " ") + escaped(relation);
  }
  style.attributes += "\"" + (target.empty() ? "" : " target=\"" + escaped(target) + "\"");
  const Value schemes = arguments.next("extra_schemes").value_or(Value());
  for (const Value& scheme : schemes.is_none() ? std::vector<Value>() : items_of(runtime, schemes)) {
    if (!scheme.is_text() || !matches(runtime, scheme_regex(), scheme.text())) {
      runtime.fail(representation(runtime, scheme) + " is not a valid URI scheme prefix.");
    }
    style.schemes.push_back(scheme.text());
  }
  return style;
}

/// The end of the run of white space, or of other characters, that begins at `at`.
size_t end_of_part(std::string_view text, size_t at) {
  const bool is_space = is_python_space(next_code_point(text, at));
  while (at < text.size()) {
    size_t next = at;
    if (is_python_space(next_code_point(text, next)) != is_space) {
      break;
    }
    at = next;
  }
  return at;
}

Value link_urls(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const LinkStyle style = link_style(runtime, arguments);
  const std::string plain = text_of(runtime, value);
  runtime.reserve(5 * plain.size());
  const std::string text = escaped(plain);
  std::string result;
  for (size_t at = 0; at < text.size();) {
    const size_t end = end_of_part(text, at);
    std::string word = text.substr(at, end - at);
    at = end;
    const std::string head = word.substr(0, end_of_head(word));
    word.erase(0, head.size());
    std::string tail = word.substr(begin_of_tail(word, {")", ">", ".", ",", "&gt;"}));
    word.erase(word.size() - tail.size());
    balance(word, tail);
    runtime.reserve(4 * word.size() + style.attributes.size() + head.size() + tail.size());
    result += head + linked(runtime, std::move(word), style) + tail;
  }
  return runtime.text(std::move(result));
}

}  // namespace

const FilterTable& markup_filters() {
  static const FilterTable kFilters{
      {"e", escape},           {"escape", escape},        {"forceescape", escape}, {"striptags", strip_tags},
      {"urlencode", encode_url}, {"xmlattr", xml_attributes}, {"urlize", link_urls},
  };
  return kFilters;
}

}  // namespace lora::tokenizer::jinja

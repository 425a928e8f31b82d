#pragma once
#include <string>
#include <string_view>

// HTML as markupsafe and Python's html module write and read it.
namespace lora::tokenizer::jinja {

/// markupsafe.escape.
std::string escaped(std::string_view text);
/// html.unescape: the text of every character reference.
std::string unescaped(std::string_view text);
/// Markup.striptags: without tags and comments, white space as single spaces, and unescaped.
std::string without_tags(std::string_view text);

/// urllib.parse.quote. `safe`: characters to keep besides letters, digits and "_.-~".
std::string percent_encoded(std::string_view text, std::string_view safe);

}  // namespace lora::tokenizer::jinja

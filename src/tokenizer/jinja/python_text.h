#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// Python's str, on valid UTF-8. Positions count code points.
namespace lora::tokenizer::jinja {

size_t num_characters(std::string_view text);
/// The byte at which character `index` begins; the end of the text if there is no such character.
size_t byte_of_character(std::string_view text, size_t index);
std::vector<std::string> characters(std::string_view text);

bool is_python_space(char32_t code);
/// str.strip, lstrip and rstrip: removes these characters, by default white space.
std::string_view stripped(std::string_view text, const std::optional<std::string>& characters, bool left, bool right);

std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalized(std::string_view text);
/// str.title().
std::string titled(std::string_view text);
/// Jinja's filter `title`: words are separated by white space, hyphens and opening brackets.
std::string jinja_titled(std::string_view text);
bool is_upper(std::string_view text);
bool is_lower(std::string_view text);
/// Whether the text is not empty and all its characters have the property.
bool all_characters(std::string_view text, bool (*property)(char32_t));
bool is_alphabetic(char32_t code);
bool is_decimal(char32_t code);
bool is_digit(char32_t code);
bool is_alphanumeric(char32_t code);

/// str.split and str.rsplit: without a separator, at white space. A separator must not be empty. max_splits -1: no limit.
std::vector<std::string> split_text(std::string_view text, const std::optional<std::string>& separator, int64_t max_splits,
                                    bool from_right);
std::vector<std::string> split_lines(std::string_view text, bool keep_ends);

size_t count_of(std::string_view text, std::string_view part);

/// repr() of a string and of a float.
std::string python_literal(std::string_view text);
std::string float_text(double value);
/// A string as json.dumps writes it.
std::string json_quoted(std::string_view text, bool ascii);

}  // namespace lora::tokenizer::jinja

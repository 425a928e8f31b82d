#pragma once
#include <stdexcept>
#include <string>

namespace lora::tokenizer::jinja {

/// A position in a template; lines and columns count from 1, columns in bytes.
struct Position {
  int line = 1;
  int column = 1;
};

/// A fault in a template or in what it does. Code that knows the template's name converts it to an Error.
class Failure : public std::runtime_error {
 public:
  Failure(Position at, const std::string& message, bool raised = false) : std::runtime_error(message), at(at), raised(raised) {}

  Position at;
  bool raised;  ///< by the template itself, with raise_exception()
};

/// Limits of a template's cost, because templates may come from untrusted sources.
struct Limits {
  size_t template_bytes = size_t{1} << 20;
  size_t output_bytes = size_t{64} << 20;
  size_t work = 20'000'000;           ///< evaluated nodes, plus one per 64 bytes of processed text
  size_t memory = size_t{512} << 20;  ///< bytes of all values created in one rendering
  int nesting = 100;                  ///< of blocks and of brackets
  int height = 400;                   ///< of an expression's tree
  int depth = 1000;                   ///< of evaluation, including calls of macros
  int value_depth = 100;              ///< of lists in lists
};

}  // namespace lora::tokenizer::jinja

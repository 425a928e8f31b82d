#pragma once
#include <stdexcept>
#include <string>

namespace lora::tokenizer::jinja {

/// A place in a template; both count from 1, columns in bytes.
struct Position {
  int line = 1;
  int column = 1;
};

/// What is wrong with a template or with what it does. Those who know its name make an Error of it.
class Failure : public std::runtime_error {
 public:
  Failure(Position at, const std::string& message, bool raised = false) : std::runtime_error(message), at(at), raised(raised) {}

  Position at;
  bool raised;  ///< by the template itself, which calls raise_exception()
};

/// What a template may cost: templates come from strangers.
struct Limits {
  size_t template_bytes = size_t{1} << 20;
  size_t output_bytes = size_t{64} << 20;
  size_t work = 20'000'000;           ///< evaluated nodes, and what is touched beside, 64 bytes for one
  size_t memory = size_t{512} << 20;  ///< bytes of all values that are made in one rendering
  int nesting = 100;                  ///< of blocks and of brackets
  int height = 400;                   ///< of an expression's tree
  int depth = 1000;                   ///< of evaluation, calls of macros included
  int value_depth = 100;              ///< of lists in lists
};

}  // namespace lora::tokenizer::jinja

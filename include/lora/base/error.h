#pragma once
#include <stdexcept>
#include <string>

namespace lora {

/// What went wrong, as the process's exit code.
enum class ErrorKind {
  kUnforeseen = 1,
  kConfig = 2,    ///< usage or config
  kData = 3,      ///< dataset
  kModel = 4,     ///< model, adapter or tokenizer file
  kDiverged = 5,  ///< non-finite loss or weights
  kOutput = 6,    ///< output folder in use or not writable
};

/// An error a user can act on. `what()` is one line, or one line per finding where several are reported at once:
/// "[where] what is wrong: found X, expected Y. What to do."
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& where, const std::string& message)
      : std::runtime_error("[" + where + "] " + message), kind_(kind) {}
  /// `text` is already complete (several findings, each with its own [where]).
  Error(ErrorKind kind, const std::string& text) : std::runtime_error(text), kind_(kind) {}

  ErrorKind kind() const { return kind_; }
  int exit_code() const { return static_cast<int>(kind_); }

 private:
  ErrorKind kind_;
};

/// Shorthands that throw Error of the kind in their name.
[[noreturn]] void config_error(const std::string& where, const std::string& message);
[[noreturn]] void data_error(const std::string& where, const std::string& message);
[[noreturn]] void model_error(const std::string& where, const std::string& message);
[[noreturn]] void output_error(const std::string& where, const std::string& message);

}  // namespace lora

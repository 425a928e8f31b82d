#pragma once
#include <string>
#include <vector>

#include "lora/base/error.h"

namespace lora::config {

/// Everything that is wrong with a config, collected so that the user sees all of it at once.
class Findings {
 public:
  /// `where` is the JSON path, "" for the whole file. What was said already is not said again.
  /// `kind`: what it is an error of; a model's or adapter's file is kModel.
  void add(const std::string& where, const std::string& message, ErrorKind kind = ErrorKind::kConfig);
  /// Says of what was found at this JSON path that it is somewhere else: at a flag.
  void rename(const std::string& path, const std::string& flag);
  /// Whether something was found at `path` or below it.
  bool any_at(const std::string& path) const;
  /// Throws one Error of all findings, if there are any: of their kind where all have one, else of the config.
  void throw_if_any() const;
  /// The same, of this kind.
  void throw_if_any(ErrorKind kind) const;

 private:
  struct Finding {
    std::string where;
    std::string message;
    ErrorKind kind;
  };
  std::vector<Finding> findings_;
};

/// A value's place in the config, and where to say what is wrong with it.
struct Place {
  std::string path;
  Findings& findings;

  Place key(const std::string& name) const;
  Place item(size_t index) const;
  void add(const std::string& message, ErrorKind kind = ErrorKind::kConfig) const { findings.add(path, message, kind); }
  bool sound() const { return !findings.any_at(path); }
  /// Whether nothing is wrong with any of these keys: only then is it worth comparing them.
  bool sound(const std::vector<std::string>& keys) const;
};

}  // namespace lora::config

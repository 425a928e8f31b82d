#pragma once
#include <string>
#include <vector>

#include "lora/base/error.h"

namespace lora::config {

/// The errors in a config, collected so that the user sees all of them at once.
class Findings {
 public:
  /// `where` is the JSON path, "" for the whole file. A finding that exists already is not added again.
  /// `kind` is kModel for an error in a file of a model or adapter.
  void add(const std::string& where, const std::string& message, ErrorKind kind = ErrorKind::kConfig);
  /// Replaces the JSON path of findings at `path` by the name of a flag.
  void rename(const std::string& path, const std::string& flag);
  /// Whether something was found at `path` or below it.
  bool any_at(const std::string& path) const;
  /// Throws one Error with all findings, if there are any: of their common kind, or a config Error if their kinds differ.
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

/// The position of a value in the config, and where to report what is wrong with it.
struct ConfigPlace {
  std::string path;
  Findings& findings;

  ConfigPlace key(const std::string& name) const;
  ConfigPlace item(size_t index) const;
  void add(const std::string& message, ErrorKind kind = ErrorKind::kConfig) const { findings.add(path, message, kind); }
  bool sound() const { return !findings.any_at(path); }
  /// Whether nothing is wrong with any of these keys, so that they can be compared.
  bool sound(const std::vector<std::string>& keys) const;
};

}  // namespace lora::config

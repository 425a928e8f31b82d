#include "config/findings.h"

#include <algorithm>

#include "lora/base/error.h"
#include "lora/base/terminal.h"
#include "lora/base/text.h"

namespace lora::config {

void Findings::add(const std::string& where, const std::string& message, ErrorKind kind) {
  const auto is_same = [&](const Finding& other) { return other.where == where && other.message == message; };
  if (std::none_of(findings_.begin(), findings_.end(), is_same)) {
    findings_.push_back({where, message, kind});
  }
}

void Findings::rename(const std::string& path, const std::string& flag) {
  for (Finding& finding : findings_) {
    finding.where = finding.where == path ? flag : finding.where;
  }
}

bool Findings::any_at(const std::string& path) const {
  return std::any_of(findings_.begin(), findings_.end(), [&](const Finding& finding) {
    return finding.where.starts_with(path) &&
           (finding.where.size() == path.size() || finding.where[path.size()] == '.' || finding.where[path.size()] == '[');
  });
}

void Findings::throw_if_any() const {
  if (findings_.empty()) {
    return;
  }
  const ErrorKind first = findings_.front().kind;
  const bool alike = std::all_of(findings_.begin(), findings_.end(), [&](const Finding& finding) { return finding.kind == first; });
  throw_if_any(alike ? first : ErrorKind::kConfig);
}

void Findings::throw_if_any(ErrorKind kind) const {
  if (findings_.empty()) {
    return;
  }
  std::vector<std::string> lines;
  for (const Finding& finding : findings_) {
    lines.push_back(terminal::visible_line("[" + (finding.where.empty() ? "config" : finding.where) + "] " + finding.message));
  }
  throw Error(kind, join(lines, "\n"));
}

ConfigPlace ConfigPlace::key(const std::string& name) const {
  // The path of another file ends with ':' ("adapter_config.json:").
  const bool first = path.empty() || path.ends_with(':');
  return {path + (first ? "" : ".") + printable(name), findings};
}

ConfigPlace ConfigPlace::item(size_t index) const {
  return {path + "[" + std::to_string(index) + "]", findings};
}

bool ConfigPlace::sound(const std::vector<std::string>& keys) const {
  return std::all_of(keys.begin(), keys.end(), [&](const std::string& name) { return key(name).sound(); });
}

}  // namespace lora::config

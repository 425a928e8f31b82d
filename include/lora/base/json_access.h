#pragma once
#include <set>
#include <string>
#include <utility>

#include "lora/base/json.h"

namespace lora {

/// Records which keys the JsonReaders of this thread ask for during its lifetime. A key that no reader asked for has no effect, so such
/// keys of a file can be reported without a second list of the keys that have one.
class JsonAccess {
 public:
  JsonAccess();
  ~JsonAccess();
  JsonAccess(const JsonAccess&) = delete;
  JsonAccess& operator=(const JsonAccess&) = delete;

  /// Whether a reader of exactly this `object` asked for `key`.
  bool was_read(const Json& object, const std::string& key) const { return read_.count({&object, key}) > 0; }
  /// Whether a reader of exactly this `object` asked for any key, present or not.
  bool was_opened(const Json& object) const {
    const auto first = read_.lower_bound({&object, ""});
    return first != read_.end() && first->first == &object;
  }
  /// Called by JsonReader.
  static void note(const Json& object, const std::string& key);

 private:
  std::set<std::pair<const Json*, std::string>> read_;
  JsonAccess* outer_;
};

}  // namespace lora

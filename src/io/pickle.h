#pragma once
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace lora::io {

/// A value of a pickle, as far as files of tensors need it.
struct PickleValue {
  enum class Kind {
    kNone,
    kBool,
    kInteger,
    kString,
    kTuple,
    kList,
    kDict,        ///< items: key, value, key, value …; collections.OrderedDict too
    kGlobal,      ///< text: "module name"
    kCall,        ///< items: the global, the tuple of arguments
    kPersistent,  ///< items: the id's value, which stands for data outside of the pickle
    kOther,       ///< a value that tensors do not need: a float, bytes
  };

  Kind kind = Kind::kNone;
  int64_t integer = 0;
  std::string_view text = {};  ///< part of the pickle's bytes
  std::vector<const PickleValue*> items = {};

  bool is_call_of(std::string_view global) const { return kind == Kind::kCall && items[0]->text == global; }
};

/// Reads a pickle (protocols 2 to 5) without running anything: a call is recorded as a kCall, and a global that is not in `allowed`
/// is an error before anything is created from it. Time and memory are bounded by the pickle's length: shared values are created
/// once and pointed to, and nothing is copied or expanded.
class Pickle {
 public:
  /// `bytes` must outlive the object. Throws model Error naming `where`.
  Pickle(std::string_view bytes, const std::vector<std::string_view>& allowed, const std::string& where);

  const PickleValue& value() const { return *value_; }

 private:
  friend class PickleReader;
  std::deque<PickleValue> values_;
  const PickleValue* value_ = nullptr;
};

}  // namespace lora::io

#include "io/pickle.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "lora/base/error.h"
#include "lora/base/text.h"

namespace lora::io {

namespace {

constexpr size_t kMaxValues = size_t{1} << 21;  // an adapter of a large model has a few hundred thousand

/// The opcodes of Python's pickletools that occur in files of tensors.
enum Opcode : unsigned char {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kNone = 'N',
  kReduce = 'R',
  kBuild = 'b',
  kGlobal = 'c',
  kAppend = 'a',
  kAppends = 'e',
  kSetItem = 's',
  kSetItems = 'u',
  kEmptyDict = '}',
  kEmptyList = ']',
  kEmptyTuple = ')',
  kTuple = 't',
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kTrue = 0x88,
  kFalse = 0x89,
  kInt32 = 'J',
  kInt8 = 'K',
  kInt16 = 'M',
  kLong1 = 0x8a,
  kFloat = 'G',
  kText32 = 'X',
  kText8 = 0x8c,
  kBytes32 = 'B',
  kBytes8 = 'C',
  kPut8 = 'q',
  kPut32 = 'r',
  kGet8 = 'h',
  kGet32 = 'j',
  kMemoize = 0x94,
  kPersistentId = 'Q',
  kProtocol = 0x80,
  kFrame = 0x95,
  kStackGlobal = 0x93,
};

}  // namespace

/// One pass over a pickle, with the stack, the memo, and the created values.
class PickleReader {
 public:
  using Value = PickleValue;
  using Kind = PickleValue::Kind;

  PickleReader(std::string_view bytes, const std::vector<std::string_view>& allowed, const std::string& where, Pickle& pickle)
      : bytes_(bytes), allowed_(allowed), where_(where), pickle_(pickle) {}

  const Value* read() {
    while (true) {
      const auto opcode = static_cast<unsigned char>(take(1).front());
      if (opcode == kStop) {
        return pop();
      }
      if (!read_scalar(opcode) && !read_container(opcode) && !read_object(opcode) && !read_memo(opcode)) {
        fail("has content that does not belong in a file of tensors: found the opcode " + std::to_string(opcode) + " at byte " +
             std::to_string(at_ - 1));
      }
    }
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { model_error(where_, what); }
  [[noreturn]] void fail_damaged() const { fail("is damaged: its pickle ends too early or contradicts itself"); }

  std::string_view take(size_t count) {
    if (count > bytes_.size() - at_) {
      fail_damaged();
    }
    at_ += count;
    return bytes_.substr(at_ - count, count);
  }
  template <typename Number>
  Number number() {
    Number value;  // little-endian, like all supported machines
    std::memcpy(&value, take(sizeof(Number)).data(), sizeof(Number));
    return value;
  }
  std::string_view line() {
    const size_t end = bytes_.find('\n', at_);
    if (end == std::string_view::npos) {
      fail_damaged();
    }
    const std::string_view text = take(end - at_);
    ++at_;
    return text;
  }

  Value* make(Value value) {
    if (pickle_.values_.size() >= kMaxValues) {
      fail("holds more than " + std::to_string(kMaxValues) + " values, expected an adapter");
    }
    pickle_.values_.push_back(std::move(value));
    return &pickle_.values_.back();
  }
  bool push(Value value) {
    stack_.push_back(make(std::move(value)));
    return true;
  }
  Value* pop() {
    if (stack_.empty() || (!marks_.empty() && marks_.back() == stack_.size())) {
      fail_damaged();
    }
    Value* const value = stack_.back();
    stack_.pop_back();
    return value;
  }
  Value* top(Kind kind) const {
    if (stack_.empty() || stack_.back()->kind != kind) {
      fail_damaged();
    }
    return stack_.back();
  }
  /// What was pushed since the last mark.
  std::vector<const Value*> pop_to_mark() {
    if (marks_.empty()) {
      fail_damaged();
    }
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<const Value*> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }
  std::vector<const Value*> pop_items(size_t count) {
    std::vector<const Value*> items(count);
    for (size_t i = count; i-- > 0;) {
      items[i] = pop();
    }
    return items;
  }

  bool read_scalar(unsigned char opcode) {
    switch (opcode) {
      case kNone:
        return push({Kind::kNone});
      case kTrue:
      case kFalse:
        return push({Kind::kBool, opcode == kTrue});
      case kInt32:
        return push({Kind::kInteger, number<int32_t>()});
      case kInt8:
        return push({Kind::kInteger, number<uint8_t>()});
      case kInt16:
        return push({Kind::kInteger, number<uint16_t>()});
      case kLong1:
        return push({Kind::kInteger, long_integer(take(number<uint8_t>()))});
      case kFloat:
        take(8);
        return push({Kind::kOther});
      case kText32:
        return push({Kind::kString, 0, take(number<uint32_t>())});
      case kText8:
        return push({Kind::kString, 0, take(number<uint8_t>())});
      case kBytes32:
        take(number<uint32_t>());
        return push({Kind::kOther});
      case kBytes8:
        take(number<uint8_t>());
        return push({Kind::kOther});
      default:
        return false;
    }
  }

  /// Two's complement, little-endian.
  int64_t long_integer(std::string_view bytes) const {
    if (bytes.size() > sizeof(int64_t)) {
      fail("holds an integer of more than 64 bits, expected tensor sizes");
    }
    uint64_t value = !bytes.empty() && (static_cast<unsigned char>(bytes.back()) & 0x80) != 0 ? ~uint64_t{0} : 0;
    for (size_t i = bytes.size(); i-- > 0;) {
      value = value << 8 | static_cast<unsigned char>(bytes[i]);
    }
    return static_cast<int64_t>(value);
  }

  bool read_container(unsigned char opcode) {
    switch (opcode) {
      case kMark:
        marks_.push_back(stack_.size());
        return true;
      case kEmptyTuple:
        return push({Kind::kTuple});
      case kEmptyList:
        return push({Kind::kList});
      case kEmptyDict:
        return push({Kind::kDict});
      case kTuple:
        return push({Kind::kTuple, 0, {}, pop_to_mark()});
      case kTuple1:
      case kTuple2:
      case kTuple3:
        return push({Kind::kTuple, 0, {}, pop_items(size_t{1} + opcode - kTuple1)});
      case kAppend:
        return add(pop_items(1), Kind::kList);
      case kAppends:
        return add(pop_to_mark(), Kind::kList);
      case kSetItem:
        return add(pop_items(2), Kind::kDict);
      case kSetItems:
        return add(pop_to_mark(), Kind::kDict);
      default:
        return false;
    }
  }

  bool add(const std::vector<const Value*>& items, Kind kind) {
    Value* const container = top(kind);
    if (kind == Kind::kDict && items.size() % 2 != 0) {
      fail_damaged();
    }
    container->items.insert(container->items.end(), items.begin(), items.end());
    return true;
  }

  bool read_object(unsigned char opcode) {
    switch (opcode) {
      case kGlobal: {
        const std::string_view module = line();
        const std::string_view name = line();
        return push_global(module, name);
      }
      case kStackGlobal: {
        const std::vector<const Value*> names = pop_items(2);
        return push_global(names[0]->text, names[1]->text);
      }
      case kReduce: {
        std::vector<const Value*> call = pop_items(2);
        if (call[0]->kind != Kind::kGlobal || call[1]->kind != Kind::kTuple) {
          fail_damaged();
        }
        const bool is_empty_dict = call[0]->text == "collections OrderedDict" && call[1]->items.empty();
        return is_empty_dict ? push({Kind::kDict}) : push({Kind::kCall, 0, {}, std::move(call)});
      }
      case kBuild:  // attributes of an OrderedDict: _metadata of a state_dict
        pop();
        top(Kind::kDict);
        return true;
      case kPersistentId:
        return push({Kind::kPersistent, 0, {}, pop_items(1)});
      default:
        return false;
    }
  }

  bool push_global(std::string_view module, std::string_view name) {
    const std::string global = std::string(module) + " " + std::string(name);
    const auto found = std::find(allowed_.begin(), allowed_.end(), global);
    if (found == allowed_.end()) {
      fail("would call '" + printable(std::string(module) + "." + std::string(name), 120) +
           "', which is not part of a tensor (nothing was run)");
    }
    return push({Kind::kGlobal, 0, *found});
  }

  bool read_memo(unsigned char opcode) {
    switch (opcode) {
      case kPut8:
        return remember(number<uint8_t>());
      case kPut32:
        return remember(number<uint32_t>());
      case kMemoize:
        return remember(static_cast<uint32_t>(memo_.size()));
      case kGet8:
        return recall(number<uint8_t>());
      case kGet32:
        return recall(number<uint32_t>());
      case kPop:
        pop();
        return true;
      case kProtocol:
        take(1);
        return true;
      case kFrame:
        take(8);
        return true;
      default:
        return false;
    }
  }

  bool remember(uint32_t key) {
    if (stack_.empty()) {
      fail_damaged();
    }
    memo_[key] = stack_.back();
    return true;
  }
  bool recall(uint32_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) {
      fail_damaged();
    }
    stack_.push_back(found->second);
    return true;
  }

  std::string_view bytes_;
  const std::vector<std::string_view>& allowed_;
  const std::string& where_;
  Pickle& pickle_;
  size_t at_ = 0;
  std::vector<Value*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, Value*> memo_;
};

Pickle::Pickle(std::string_view bytes, const std::vector<std::string_view>& allowed, const std::string& where) {
  value_ = PickleReader(bytes, allowed, where, *this).read();
}

}  // namespace lora::io

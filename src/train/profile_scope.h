#pragma once
#include <ATen/record_function.h>

namespace lora::train {

/// The names of scopes that trainer and objectives record in a trace.
inline constexpr const char* kStepScope = "lora::step";
inline constexpr const char* kDataScope = "lora::data";
inline constexpr const char* kLossScope = "lora::loss";
inline constexpr const char* kOptimizerScope = "lora::optimizer";

/// Records a named scope in the trace for as long as the object lives. Costs next to nothing when nothing is profiled.
class ProfileScope {
 public:
  explicit ProfileScope(const char* name) : record_(at::RecordScope::USER_SCOPE) {
    if (record_.isActive()) {
      record_.before(name);
    }
  }

 private:
  at::RecordFunction record_;
};

}  // namespace lora::train

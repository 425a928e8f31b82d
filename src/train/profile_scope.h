#pragma once
#include <ATen/record_function.h>

namespace lora::train {

/// The scopes that trainer and objective record, for whoever reads a trace.
inline constexpr const char* kStepScope = "lora::step";
inline constexpr const char* kDataScope = "lora::data";
inline constexpr const char* kLossScope = "lora::loss";
inline constexpr const char* kOptimizerScope = "lora::optimizer";

/// A stretch of time with a name in the trace, as long as this lives. Costs next to nothing while nothing is profiled.
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

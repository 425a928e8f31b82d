// What a user is told when memory ends.
#include "lora/app/guard.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <new>

namespace lora::app {
namespace {

std::string told(const std::function<int()>& command) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(guarded(command), 1);
  return testing::internal::GetCapturedStderr();
}

TEST(Guard, MemoryThatEndsHasOneLineWithAdvice) {
  const auto is_of_memory = testing::AllOf(testing::HasSubstr("[memory]"), testing::HasSubstr("gradient_checkpointing"),
                                           testing::HasSubstr("max_length"), testing::Not(testing::HasSubstr("Allocator")));
  EXPECT_THAT(told([]() -> int { return static_cast<int>(at::empty({int64_t{1} << 50}).size(0)); }), is_of_memory);
  EXPECT_THAT(told([]() -> int { throw std::bad_alloc(); }), is_of_memory);
  EXPECT_THAT(told([]() -> int { TORCH_CHECK(false, "another matter"); }),
              testing::AllOf(testing::HasSubstr("[torch] another matter"), testing::Not(testing::HasSubstr("[memory]"))));
}

}  // namespace
}  // namespace lora::app

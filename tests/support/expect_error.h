#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "lora/base/error.h"

namespace lora::test {

/// `call` throws an Error of `kind`, of one line that begins with "[where]", whose text has all the parts. Gives the text.
inline std::string expect_error(ErrorKind kind, const std::vector<std::string>& parts, const std::function<void()>& call) {
  try {
    call();
    ADD_FAILURE() << "no error, expected one with: " << (parts.empty() ? "" : parts.front());
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << error.what();
    EXPECT_THAT(error.what(), testing::AllOf(testing::StartsWith("["), testing::Not(testing::HasSubstr("\n"))));
    for (const std::string& part : parts) {
      EXPECT_THAT(error.what(), testing::HasSubstr(part));
    }
    return error.what();
  }
  return "";
}

}  // namespace lora::test

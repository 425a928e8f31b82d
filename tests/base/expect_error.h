#pragma once
#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "lora/base/error.h"

namespace lora::testing {

/// Runs `action`, which must throw lora::Error of `kind` with all `parts` in its one-line message. Gives the message.
template <typename Action>
std::string expect_error(ErrorKind kind, const std::vector<std::string>& parts, const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(static_cast<int>(error.kind()), static_cast<int>(kind)) << message;
    for (const std::string& part : parts) {
      EXPECT_THAT(message, ::testing::HasSubstr(part));
    }
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_EQ(message.rfind("[", 0), 0U) << message;
    return message;
  }
  ADD_FAILURE() << "no error; expected one with: " << (parts.empty() ? "" : parts.front());
  return "";
}

}  // namespace lora::testing

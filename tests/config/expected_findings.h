#pragma once
#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "sandbox.h"

namespace lora::config {

struct FindingCase {
  std::string setting;
  std::string finding;  ///< the whole of it, or a part where it begins with '…'
};

/// Each setting on top of the smallest config gives exactly one finding.
inline void expect_findings(const std::vector<FindingCase>& cases) {
  using ::testing::ElementsAre;
  using ::testing::HasSubstr;
  const Sandbox sandbox;
  for (const FindingCase& each : cases) {
    const std::vector<std::string> found = sandbox.findings(smallest(), {each.setting});
    if (each.finding.starts_with("…")) {
      EXPECT_THAT(found, ElementsAre(HasSubstr(each.finding.substr(std::string("…").size())))) << each.setting;
    } else {
      EXPECT_THAT(found, ElementsAre(each.finding)) << each.setting;
    }
  }
}

}  // namespace lora::config

// Adapters that old releases of PEFT wrote themselves (scripts/golden/old_peft.py) give the loss that those releases computed.
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "app/inspect_adapter.h"
#include "lora/peft/adapter.h"
#include "support/temporary_folder.h"
#include "trained_adapter.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;

constexpr double kTolerance = 2e-6;
const fs::path kOld = fs::path(data_folder()) / "old_peft";

struct OldAdapter {
  std::string name;
  fs::path folder;
  fs::path base;
  double loss;
};

std::set<std::string> folders_in(const fs::path& parent) {
  std::set<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(parent)) {
    if (entry.is_directory()) {
      names.insert(entry.path().filename().string());
    }
  }
  return names;
}

/// Every case of every release, by the folders that are there: none may be left out of expected.json.
std::vector<OldAdapter> old_adapters() {
  std::vector<OldAdapter> found;
  for (const std::string& release : folders_in(kOld)) {
    if (fs::exists(kOld / release / "config.json")) {
      continue;  // a base
    }
    const Json cases = read_json(kOld / release / "expected.json", ErrorKind::kData)["cases"];
    for (const std::string& name : folders_in(kOld / release)) {
      const Json& expected = cases.at(name);
      found.push_back({release + "/" + name, kOld / release / expected["folder"].get<std::string>(),
                       kOld / expected["base"].get<std::string>(), expected["loss"].get<double>()});
    }
  }
  return found;
}

/// `check` of each adapter; an Error counts as a failure of that adapter.
void for_each_old_adapter(const std::function<void(const OldAdapter&)>& check) {
  const std::vector<OldAdapter> all = old_adapters();
  EXPECT_GE(all.size(), 40u);
  for (const OldAdapter& old : all) {
    SCOPED_TRACE(old.name);
    try {
      check(old);
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
  }
}

TEST(OldPeft, GivesTheLossOfItsTime) {
  for_each_old_adapter([](const OldAdapter& old) { EXPECT_NEAR(loss_with(old.base, old.folder), old.loss, kTolerance); });
}

TEST(OldPeft, IsMerged) {
  for_each_old_adapter([](const OldAdapter& old) {
    const TemporaryFolder scratch;
    merge_into(old.base, old.folder, scratch / "merged");
    EXPECT_NEAR(loss_of(*load_small(scratch / "merged").model), old.loss, kTolerance);
  });
}

TEST(OldPeft, IsInspectedAndConverted) {
  for_each_old_adapter([](const OldAdapter& old) {
    const TemporaryFolder scratch;
    const peft::MethodOptions options = config::read_adapter_folder(old.folder);
    EXPECT_EQ(app::adapter_facts(old.folder)["modules"].size(), peft::read_adapter(old.folder, options).low_rank().size());
    if (!peft::changes_base(options)) {
      convert_to("peft", old.folder, scratch / "peft");
      EXPECT_NEAR(loss_with(old.base, scratch / "peft"), old.loss, kTolerance);
    }
  });
}

/// What is trained further is saved in a way that today's rules read.
TEST(OldPeft, IsTrainedFurther) {
  for_each_old_adapter([](const OldAdapter& old) {
    const TemporaryFolder scratch;
    EXPECT_NEAR(continued_loss(old.base, old.folder, scratch / "saved"), old.loss, kTolerance);
    EXPECT_NEAR(loss_with(old.base, scratch / "saved"), old.loss, kTolerance);
  });
}

}  // namespace
}  // namespace lora::test

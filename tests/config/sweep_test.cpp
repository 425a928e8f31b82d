// lora-train --sweep: one run for each combination of values.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/sweep.h"
#include "lora/base/error.h"
#include "sandbox.h"

namespace lora::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Json short_run() {
  return Json::parse(R"({"model": {"path": "./base"},
                         "adapter": {"r": 4, "target_modules": ["q_proj"]},
                         "data": {"train": [{"path": "rows.jsonl", "format": "tokens"}]},
                         "output_dir": "out"})");
}

RunList sweep(const Sandbox& sandbox, const std::vector<std::string>& sweeps, const Json& document = short_run()) {
  return load_runs(sandbox.write("run.json", document.dump()), {}, {}, sweeps);
}

void expect_finding(const std::vector<std::string>& sweeps, const std::string& finding, const Json& document = short_run()) {
  const Sandbox sandbox;
  try {
    sweep(sandbox, sweeps, document);
    ADD_FAILURE() << "no error, expected " << finding;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kConfig);
    EXPECT_THAT(error.what(), HasSubstr(finding));
  }
}

TEST(Sweep, IsARunForEachCombination) {
  const Sandbox sandbox;
  const RunList list = sweep(sandbox, {"adapter.r=1,8", R"(adapter.target_modules=["q_proj","v_proj"],all-linear)",
                                       "training.learning_rate=1e-3"});
  ASSERT_EQ(list.runs.size(), 4u);
  EXPECT_EQ(list.runs[0].name, "r=1,target_modules=q_proj_v_proj,learning_rate=1e-3");
  EXPECT_EQ(list.runs[1].name, "r=1,target_modules=all-linear,learning_rate=1e-3");
  EXPECT_EQ(list.runs[2].output_dir, sandbox.folder() / "out" / list.runs[2].name);
  EXPECT_EQ(list.runs[3].adapter.as<peft::LoraOptions>()->r, 8);
  EXPECT_EQ(list.runs[3].training.learning_rate, 0.001);
  EXPECT_THAT(list.sweep[3], ElementsAre("adapter.r=8", "adapter.target_modules=all-linear", "training.learning_rate=1e-3"));
  // Each run is that of its own config.
  EXPECT_EQ(sandbox.load(list.runs[2].resolved).resolved, list.runs[2].resolved);
}

TEST(Sweep, NamesAreUniqueNamesOfFolders) {
  const Sandbox sandbox;
  const RunList methods =
      sweep(sandbox, {R"(adapter={"r": 4, "target_modules": "all-linear"},{"r": 4, "target_modules": ["all-linear"]},null)"});
  EXPECT_EQ(methods.runs[0].name, "adapter=r_4_target_modules_all-linear");
  EXPECT_EQ(methods.runs[1].name, "adapter=r_4_target_modules_all-linear.1");
  EXPECT_EQ(methods.runs[2].name, "adapter=null");
  EXPECT_THAT(sweep_names({{"adapter.r=ab.2"}, {"adapter.r=ab"}, {"adapter.r=a b"}}), ElementsAre("r=ab.2", "r=ab", "r=ab.2.2"));
  EXPECT_EQ(sweep_names({{"adapter.a.r=../x", "training.b.r=2"}}), std::vector<std::string>{"adapter.a.r=.._x,training.b.r=2"});
}

TEST(Sweep, WrongOnesAreReported) {
  expect_finding({"adapter.r"}, "[--sweep adapter.r] is not a list of values");
  expect_finding({"model.dtype=float32,bfloat16"}, "the runs of a sweep share model and data: found the key 'model.dtype'");
  expect_finding({"adapter.r=1,,2"}, "has an empty value");
  expect_finding({"adapter.r=1,2,1"}, "has the value 1 twice");
  expect_finding({"adapter.r=1", "adapter.r=2"}, "occurs twice");
  expect_finding({"adapter.r=4,no"}, "[adapter.r] found \"no\"");
  expect_finding({"training.learning_rte=1"}, "learning_rate");
  Json chained = short_run();
  chained["adapter"]["init_from"] = "out/r=1";
  expect_finding({"adapter.r=1,2"}, "which run 'r=1' of this sweep writes", chained);
  Json list = short_run();
  list["adapter"] = Json::array({short_run()["adapter"]});
  expect_finding({"training.seed=1,2"}, "found a list of adapters with --sweep", list);
  std::string many = "training.seed=0";
  for (int i = 1; i < 40; ++i) {
    many += "," + std::to_string(i);
  }
  std::string rates = "training.warmup_steps" + many.substr(many.find('='));
  expect_finding({many, rates}, "makes too many runs: found 1600");
}

}  // namespace
}  // namespace lora::config

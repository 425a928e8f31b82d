// training.optim and the keys that depend on it: arguments of optimisers, LoRA+ and schedules, and training.optim_state_file.
#include <gmock/gmock.h>

#include "sandbox.h"

namespace lora::config {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Every value of transformers 5.23's OptimizerNames is an optimiser here, or an error that says what to use instead.
TEST(Optimizers, NamesOfTransformers) {
  const Sandbox sandbox;
  for (const char* name : {"adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adamw_bnb_8bit", "adamw_8bit", "lion_8bit",
                           "lion_32bit", "paged_adamw_32bit", "paged_adamw_8bit", "paged_lion_32bit", "paged_lion_8bit", "lora_fa"}) {
    EXPECT_THAT(sandbox.findings(smallest(), {std::string("training.optim=") + name}), ElementsAre()) << name;
  }
  for (const char* name : {"adamw_torch_xla",
                           "adamw_torch_npu_fused",
                           "adamw_anyprecision",
                           "adamw_torch_4bit",
                           "adamw_torch_8bit",
                           "ademamix",
                           "adagrad",
                           "ademamix_8bit",
                           "paged_ademamix_32bit",
                           "paged_ademamix_8bit",
                           "rmsprop",
                           "rmsprop_bnb",
                           "rmsprop_bnb_8bit",
                           "rmsprop_bnb_32bit",
                           "galore_adamw",
                           "galore_adamw_8bit",
                           "galore_adafactor",
                           "galore_adamw_layerwise",
                           "galore_adamw_8bit_layerwise",
                           "galore_adafactor_layerwise",
                           "lomo",
                           "adalomo",
                           "grokadamw",
                           "schedule_free_radam",
                           "schedule_free_adamw",
                           "schedule_free_sgd",
                           "apollo_adamw",
                           "apollo_adamw_layerwise",
                           "stable_adamw"}) {
    const std::string begin = "[training.optim] found \"" + std::string(name) + "\", which this version does not support, expected \"";
    EXPECT_THAT(sandbox.findings(smallest(), {std::string("training.optim=") + name}),
                ElementsAre(AllOf(HasSubstr(begin), HasSubstr("\" instead: "))));
  }
  EXPECT_THAT(sandbox.findings(smallest(), {"training.optim=paged_ademamix_8bit"}),
              ElementsAre(HasSubstr("expected \"paged_adamw_8bit\"")));
}

TEST(Optimizers, ArgumentsThatGoTogether) {
  const Sandbox sandbox;
  const auto expect = [&](const std::vector<std::string>& settings, const std::string& finding) {
    EXPECT_THAT(sandbox.findings(smallest(), settings), ElementsAre(HasSubstr(finding))) << settings[0];
  };
  expect({"training.optim=sgd", "training.adam_beta1=0.8"},
         "[training.adam_beta1] found 0.8, which the optimiser sgd does not use. Remove it, or choose another optim.");
  expect({"training.optim=adafactor", "training.adam_beta2=0.9"}, "[training.adam_beta2] found 0.9, which the optimiser adafactor");
  expect({"training.optim=lion", "training.adam_epsilon=1e-6"}, "[training.adam_epsilon] found 1e-06, which the optimiser lion");
  expect({"training.optim=adam_8bit"}, "Did you mean 'adamw_8bit'?");
  const std::string plus = "training.loraplus_lr_ratio=16";
  expect({plus, "adapter=null"}, "[training.loraplus_lr_ratio] needs an adapter: found \"adapter\": null");
  const std::string fa = "training.optim=lora_fa";
  expect({fa, "adapter=null"}, "[training.optim] found \"lora_fa\"");
  expect({fa, "adapter={\"peft_type\": \"LOHA\"}"}, "[training.optim] found \"lora_fa\"");
  expect({fa, "adapter.use_dora=true"}, "[adapter.use_dora] found true");
  expect({fa, plus}, "[training.loraplus_lr_ratio] found 16");
  expect({plus, "training.weight_decay=0.1"}, "[training.weight_decay] found 0.1 with loraplus_lr_ratio, expected 0");
  expect({"training.loraplus_lr_embedding=1"}, "[training.loraplus_lr_embedding] needs loraplus_lr_ratio: LoRA+ is off without it");
  expect({"training.loraplus_weight_decay=0"}, "[training.loraplus_weight_decay] needs loraplus_lr_ratio: LoRA+ is off without it");
  expect({"training.lr_scheduler_kwargs={\"power\": 2}"},
         "[training.lr_scheduler_kwargs.power] is not an argument of the schedule linear, which takes none");
  expect({"training.lr_scheduler_type=cosine", "training.lr_scheduler_kwargs={\"power\": 2}"}, "which takes num_cycles");
  expect({"training.lr_scheduler_type=cosine", "training.lr_scheduler_kwargs={\"num_cycle\": 2}"},
         "unknown key. Did you mean 'num_cycles'?");
  expect({"training.lr_scheduler_type=warmup_stable_decay"}, "[training.lr_scheduler_kwargs.num_decay_steps] is missing");
  expect({"training.lr_scheduler_type=polynomial", "training.learning_rate=1e-8"}, "[training.lr_scheduler_kwargs.lr_end] found 1e-07");
}

TEST(Optimizers, StateFile) {
  const Sandbox sandbox;
  const auto expect = [&](const std::vector<std::string>& settings, const std::string& finding) {
    EXPECT_THAT(sandbox.findings(smallest(), settings), ElementsAre(HasSubstr(finding))) << settings[0];
  };
  expect({"training.optim_state_file="}, "[training.optim_state_file] found \"\", expected a non-empty string or null");
  for (const char* name : {"sgd", "adafactor"}) {
    expect({std::string("training.optim=") + name, "training.optim_state_file=states"},
           "/states\" with the optimiser " + std::string(name) + ", which keeps no moments of the parameters' size. Remove it");
  }
  expect({"training.optim=paged_lion_8bit", "training.adam_epsilon=1e-6"}, "found 1e-06, which the optimiser paged_lion_8bit does not use");
  const RunConfig run = sandbox.load(smallest(), {"training.optim=lion_8bit", "training.optim_state_file=a/../states/"});
  EXPECT_EQ(run.training.optimizer.state_file, sandbox.folder() / "states");
  EXPECT_EQ(sandbox.load(smallest(), {"training.optim_state_file=null"}).training.optimizer.state_file, "");
}

}  // namespace
}  // namespace lora::config

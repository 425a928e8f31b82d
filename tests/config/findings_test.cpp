#include <gmock/gmock.h>

#include "expected_findings.h"

namespace lora::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Findings, AllAtOnce) {
  const Sandbox sandbox;
  Json document = smallest();
  document["training"] = Json::parse(R"({"learning_rate": "fast", "lerning_rate": 1e-4, "optim": "adamw_troch", "seed": -1})");
  document["model"] = Json::object();
  document["data"]["train"][0]["weight"] = 0;
  document.erase("adapter");
  EXPECT_THAT(sandbox.findings(document), ElementsAre("[model.path] is missing, expected a non-empty string",
                                                      "[adapter] is missing, expected an adapter, such as {\"r\": 8, \"lora_alpha\": 16, "
                                                      "\"target_modules\": \"all-linear\"}, or null to "
                                                      "train every weight",
                                                      "[data.train[0].weight] found 0, expected a number > 0 and <= 10000",
                                                      "[training.learning_rate] found \"fast\", expected a number > 0",
                                                      "[training.lerning_rate] unknown key. Did you mean 'learning_rate'?",
                                                      HasSubstr("\"sgd\", \"lora_fa\". Did you mean 'adamw_torch'?"),
                                                      "[training.seed] found -1, expected an integer >= 0"));
  EXPECT_EQ(sandbox.findings(Json::object()).size(), 4u);  // model, adapter, data, output_dir
  EXPECT_THAT(sandbox.findings(Json::array()), ElementsAre(HasSubstr("found [], expected an object with model")));
}

TEST(Findings, TypesAndRanges) {
  expect_findings({
      {"training.learning_rate=0", "[training.learning_rate] found 0, expected a number > 0"},
      {"training.learning_rate=true", "[training.learning_rate] found true, expected a number > 0"},
      {"training.max_steps=0", "[training.max_steps] found 0, expected an integer >= 1, or -1 for num_train_epochs"},
      {"training.max_steps=1.5", "…found 1.5"},
      {"training.profile=true", "[training.profile] found true, expected an object"},
      {"training.profile={}", "…[training.profile.steps] is missing"},
      {"training.profile={\"steps\": [3, 6], \"step\": 1}", "…[training.profile.step] unknown key"},
      {"training.profile.steps=[6, 3]",
       "[training.profile.steps] found [6,3], expected the first and the last step, from 1, such as [3, 6]"},
      {"training.profile.steps=[0, 3]", "…found [0,3], expected the first and the last step"},
      {"training.profile.steps=[1, 2, 3]", "…found [1,2,3]"},
      {"training.profile.steps=[3]", "…found [3]"},
      {"training.per_device_train_batch_size=0", "…expected an integer >= 1"},
      {"training.per_device_train_batch_size=most", "…found \"most\", expected an integer >= 1 and <= 1000000 or \"auto\""},
      {"training.gradient_accumulation_steps=8.5", "…found 8.5, expected an integer >= 1"},
      {"training.save_steps=1e30", "…expected a whole number of steps, or a share of all steps below 1"},
      {"training.seed=18446744073709551615", "…[training.seed]"},
      {"training.adam_beta2=1", "[training.adam_beta2] found 1, expected a number >= 0 and < 1"},
      {"training.num_train_epochs=0", "…expected a number > 0"},
      {"training.num_train_epochs=null", "…found null, expected a number > 0"},
      {"training.eval_steps=0",
       "[training.eval_steps] found 0, expected a whole number of steps, or a share of all steps above 0 and below 1, or null"},
      {"training.logging_steps=2.5", "…found 2.5, expected a whole number of steps, or a share"},
      {"training.eval_strategy=epochs",
       "[training.eval_strategy] found \"epochs\", expected one of \"no\", \"steps\", \"epoch\", null. Did you mean 'epoch'?"},
      {"training.save_strategy=never", "[training.save_strategy] found \"never\", expected one of \"no\", \"steps\", \"epoch\", \"best\""},
      {"training.warmup_steps=2.5",
       "[training.warmup_steps] found 2.5, expected a whole number of steps, or a share of all steps from 0 to below 1"},
      {"training.warmup_steps=-1", "…found -1"},
      {"training.warmup_ratio=1.5", "…>= 0 and <= 1"},
      {"training.loraplus_lr_ratio=0", "[training.loraplus_lr_ratio] found 0, expected a number > 0 or null"},
      {"training.loraplus_lr_ratio=-2", "…found -2"},
      {"training.metric_for_best_model=bleu", "…expected one of \"eval_loss\", \"eval_perplexity\", \"eval_accuracy\""},
      {"training=3", "[training] found 3, expected an object"},
      {"data.max_length=1", "[data.max_length] found 1, expected an integer >= 2 and <= 1000000"},
      {"data.packing=yes", "[data.packing] found \"yes\", expected true or false"},
      {"data.tokens_per_batch=-1", "[data.tokens_per_batch] found -1, expected an integer >= 0 and <= 1000000000 or null"},
      {"data.tokens_per_batch=\"auto\"", "…[data.tokens_per_batch] found \"auto\""},
      {"data.cache_dir=", "[data.cache_dir] found \"\", expected a non-empty string or null"},
      {"data.eval_fraction=1", "…expected a number >= 0 and < 1"},
      {"data.train=[]",
       "[data.train] found [], expected a list of sources, such as [{\"path\": \"train.jsonl\", \"format\": \"instruction\"}]"},
      {"data.train=rows.jsonl", "…expected a list of sources"},
      {"data.train.0.limit=0", "[data.train[0].limit] found 0, expected an integer >= 1 or null"},
      {"data.train.0={\"format\": \"text\"}", "[data.train[0].path] is missing, expected a non-empty string"},
      {"data.train.0.columns={\"ids\": \"x\"}", "…the fields are input_ids, labels, completion_mask"},
      {"data.train.0.columns={\"text\": \"x\"}",
       "[data.train[0].columns.text] is not a field of the format tokens, expected one of input_ids, labels, completion_mask, "
       "assistant_masks, "
       "loss_mask, mask, attention_mask, position_ids, seq_lengths"},
      {"data.train_on=last_turn",
       "[data.train_on] found \"last_turn\" with the format tokens, whose rows have no turns, expected completion or all"},
      {"data.chat_template=3", "[data.chat_template] found 3, expected a non-empty string or null"},
      {"model.device=cuda:x", "[model.device] found \"cuda:x\", expected \"auto\", \"cpu\", \"cuda\" or \"cuda:N\""},
      {"model.dtype=bf16", "…expected one of \"auto\", \"float32\", \"bfloat16\", \"float16\". Did you mean 'bfloat16'?"},
      {"model.path=", "[model.path] found \"\", expected a non-empty string"},
      {"model.base_dropout=1", "[model.base_dropout] found 1, expected a number >= 0 and < 1 or null"},
      {"output_dir=3", "[output_dir] found 3, expected a non-empty string"},
      {"output_dir=./base/", "…which is also model.path"},
  });
}

TEST(Findings, NotInThisVersion) {
  expect_findings({
      {"model.format=gguf", "[model.format] found \"gguf\", expected one of \"auto\", \"safetensors\", \"torchscript\""},
      {"model.trust_torchscript=1", "…[model.trust_torchscript] found 1"},
      {"model.inputs=[]", "…[model.inputs]"},
      {"model.output=0", "…[model.output]"},
      {"data.train.0.format=preference",
       "[data.train[0].format] found \"preference\", which this version does not support, expected one of \"tokens\", \"text\", "
       "\"prompt_completion\", \"instruction\", \"messages\", \"classification\", \"features\", \"diffusion_tensors\", \"images\""},
      {"training.gradient_checkpointing=some", "…[training.gradient_checkpointing] found \"some\""},
      {"training.report_to=wandb", "…[training.report_to] found \"wandb\", expected one of \"none\", [], [\"none\"]"},
      {"training.objective=dpo", "…[training.objective]"},
      {"adapter.peft_type=POLY", "…found \"POLY\", expected one of \"LORA\", \"PREFIX_TUNING\""},
      {"adapter.init_lora_weights=mica",
       "…found \"mica\", which this version does not support, expected one of true, false, \"gaussian\""},
  });
}

TEST(Findings, TogetherWithOtherKeys) {
  const Sandbox sandbox;
  const auto expect = [&](const std::vector<std::string>& settings, const std::string& finding) {
    EXPECT_THAT(sandbox.findings(smallest(), settings), ElementsAre(HasSubstr(finding))) << settings[0];
  };
  const std::string eval = "data.eval_fraction=0.1";
  expect({"training.warmup_steps=10", "training.warmup_ratio=0.1"}, "[training.warmup_ratio] found 0.1 with warmup_steps 10");
  expect({"data.eval=[{\"path\": \"e.txt\", \"format\": \"text\"}]", eval}, "[data.eval_fraction] found 0.1 with data.eval");
  expect({"data.train.0.path=-", "data.eval=[{\"path\": \"-\", \"format\": \"text\"}]"}, "read only once");
  expect({"data.tokens_per_batch=4096", "training.per_device_train_batch_size=4"},
         "[training.per_device_train_batch_size] found 4 with data.tokens_per_batch 4096, expected one of the two: remove this key");
  expect({"data.tokens_per_batch=4096", "training.per_device_train_batch_size=auto"},
         "[training.per_device_train_batch_size] found \"auto\" with data.tokens_per_batch 4096, expected one of the two");
  expect({"training.per_device_train_batch_size=auto", "adapter.init_lora_weights=eva"},
         "[training.per_device_train_batch_size] found \"auto\" with adapter.init_lora_weights \"eva\", expected a number");
  expect({"training.eval_steps=5"}, "[training.eval_steps] needs evaluation rows");
  expect({"training.eval_on_start=true"}, "[training.eval_on_start] needs evaluation rows");
  expect({"training.load_best_model_at_end=true"}, "[training.load_best_model_at_end] needs evaluation rows");
  expect({"training.early_stopping_patience=1"}, "[training.early_stopping_patience] needs evaluation rows");
  expect({eval, "training.load_best_model_at_end=true"}, "needs training.eval_steps");
  expect({eval, "training.load_best_model_at_end=true", "training.eval_steps=3"},
         "found save_steps 500, expected a multiple of eval_steps, which is 3");
  expect({eval, "training.load_best_model_at_end=true", "training.eval_steps=3", "training.save_steps=0"}, "found save_steps 0");
  expect({eval, "training.early_stopping_patience=2"}, "[training.early_stopping_patience] counts evaluations");
  expect({eval, "training.early_stopping_patience=2", "training.eval_strategy=no"},
         "[training.early_stopping_patience] counts evaluations");
  expect({"training.eval_strategy=epoch"}, "[training.eval_strategy] needs evaluation rows");
  expect({"training.save_strategy=best"}, "[training.save_strategy] needs evaluation rows");
  expect({eval, "training.eval_strategy=epoch", "training.eval_steps=3"},
         "[training.eval_steps] found 3 with eval_strategy \"epoch\", which does not count steps");
  expect({eval, "training.eval_strategy=no", "training.eval_steps=3"}, "[training.eval_steps] found 3 with eval_strategy \"no\"");
  expect({"training.save_strategy=epoch", "training.save_steps=3"}, "[training.save_steps] found 3 with save_strategy \"epoch\"");
  expect({"training.save_strategy=steps", "training.save_steps=0"}, "[training.save_steps] found 0 with save_strategy \"steps\"");
  expect({eval, "training.save_strategy=best", "training.eval_strategy=no"},
         "[training.save_strategy] found \"best\" with eval_strategy \"no\"");
  // transformers' rule: the strategies match, or the best is saved.
  expect({eval, "training.load_best_model_at_end=true", "training.eval_strategy=epoch"},
         "[training.load_best_model_at_end] needs a checkpoint of an evaluated step: found save_strategy \"steps\" with evaluation by "
         "epoch");
  expect({eval, "training.load_best_model_at_end=true", "training.eval_steps=3", "training.save_strategy=epoch"},
         "found save_strategy \"epoch\" with evaluation by steps");
  expect({eval, "training.load_best_model_at_end=true", "training.eval_steps=0.1", "training.save_steps=4"},
         "found save_steps 4, expected a multiple");
  expect({eval, "training.load_best_model_at_end=true", "training.eval_steps=0.2", "training.save_steps=0.5"}, "found save_steps 0.5");
  // A wrong value is one finding, not the start of a chain of them.
  expect({"data.eval=3", "training.eval_steps=5"}, "[data.eval] found 3");
  expect({"training.eval_steps=x", eval, "training.load_best_model_at_end=true"}, "[training.eval_steps] found \"x\"");
}

TEST(Findings, OnlyPassesOfCausalLmAreRecordedInGraphs) {
  const Sandbox sandbox;
  for (const std::string objective : {"sequence_classification", "regression"}) {
    const std::vector<std::string> found =
        sandbox.findings(smallest(), {"model.path=net.pt", "training.cuda_graphs=true", "training.objective=" + objective});
    const std::string expected = "[training.cuda_graphs] found true with training.objective \"" + objective + "\"";
    EXPECT_THAT(found, Contains(HasSubstr("[training.cuda_graphs]")).Times(1));
    EXPECT_THAT(found, Contains(HasSubstr(expected)));
  }
}

TEST(Findings, WhatAChoiceExcludes) {
  const Sandbox sandbox;
  const auto expect = [&](const std::vector<std::string>& settings, const std::vector<std::string>& expected) {
    const std::vector<std::string> found = sandbox.findings(smallest(), settings);
    ASSERT_EQ(found, expected) << settings[0];
  };
  const std::string labels = "training.objective=sequence_classification", rows = "data.train.0.format=classification";
  const std::string with = " with training.objective \"sequence_classification\", expected ";
  expect({labels, rows, "data.packing=true"},
         {"[data.packing] found true" + with + "false: each row has one label, and a batch is per_device_train_batch_size rows"});
  expect({labels, rows, "data.train_on=all"},
         {"[data.train_on] found \"all\"" + with + "\"completion\" (the default): the label of each row is predicted, not its tokens"});
  expect({labels, rows, "data.overlength=split"},
         {"[data.overlength] found \"split\"" + with + "truncate, drop or error: the label belongs to the whole row"});
  expect({labels, rows, "adapter.init_lora_weights=eva"},
         {"[adapter.init_lora_weights] found \"eva\"" + with + "another initialisation: EVA analyses the tokens to predict"});
  expect({"model.from_scratch=true"},
         {"[model.from_scratch] found true with an adapter, expected \"adapter\": null: the random base model would not be saved"});
  const std::string graphs = "training.cuda_graphs=true";
  expect({graphs, "adapter.use_dora=true", "training.gradient_checkpointing=offload"},
         {"[training.cuda_graphs] found true with training.gradient_checkpointing \"offload\", expected one of the two: a recorded pass "
          "cannot move activations to host memory",
          "[training.cuda_graphs] found true with adapter.use_dora, expected false: DoRA branches on values, which a recorded pass cannot "
          "do"});
  const std::string module = "model.path=net.pt";
  expect({module, graphs},
         {"[training.cuda_graphs] found true with a TorchScript model, expected false: such a model reads the lengths of documents on the "
          "host"});
  expect(
      {module, "adapter=null", "training.gradient_checkpointing=full"},
      {"[adapter] found null, expected an object: a TorchScript model can only be trained with an adapter",
       "[training.gradient_checkpointing] found \"full\", expected \"off\" or \"auto\": the layers of a TorchScript model are not known"});
  // A value that is wrong by itself is reported once.
  expect({module, "adapter=3"}, {sandbox.findings(smallest(), {"adapter=3"})});
  expect({labels, rows, "data.packing=3"}, {"[data.packing] found 3, expected true or false"});
}

TEST(Findings, AResultMayNotReplaceWhatItIsMadeFrom) {
  const Sandbox sandbox;
  const auto expect = [&](const std::vector<std::string>& settings, const std::string& finding) {
    EXPECT_THAT(sandbox.findings(smallest(), settings), ElementsAre(HasSubstr(finding))) << settings[0];
  };
  sandbox.write("base/config.json", "{}");
  sandbox.write("out/checkpoint-5/adapter_config.json", R"({"peft_type": "LORA", "target_modules": ["q_proj"]})");
  expect({"output_dir=base"}, "which is also model.path, expected another folder");
  expect({"output_dir=base/../base"}, "which is also model.path");
  expect({"model.tokenizer=out"}, "which is also model.tokenizer");
  expect({"model.path=out/checkpoint-5", "model.tokenizer=base"},
         "[output_dir] found \"" + (sandbox.folder() / "out").string() + "\", which also holds model.path");
  expect({"adapter.init_from=out/checkpoint-5"}, "which also holds adapter.init_from");
  expect({"output_dir=."}, "the run would replace this config file by its own run.json");  // the sandbox's config is its run.json
  EXPECT_TRUE(sandbox.findings(smallest(), {"output_dir=base/lora"}).empty());
  EXPECT_TRUE(sandbox.findings(smallest(), {"adapter.init_from=out/checkpoint-5", "output_dir=out/next"}).empty());
}

TEST(Findings, OfSeveralAdapters) {
  const Sandbox sandbox;
  const auto expect = [&](const char* adapters, const std::vector<std::string>& expected) {
    Json document = smallest();
    document["adapter"] = Json::parse(adapters);
    const std::vector<std::string> found = sandbox.findings(document);
    ASSERT_EQ(found.size(), expected.size()) << adapters;
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_THAT(found[i], HasSubstr(expected[i]));
    }
  };
  expect("[]", {"[adapter] found [], expected at least one adapter"});
  expect("[null, 3]", {"[adapter[0]] found null, expected an object", "[adapter[1]] found 3"});
  expect(R"([{"target_modules": ["q_proj"]}, {"target_modules": ["q_proj"], "r": 0, "lora_rank": 4}])",
         {"[adapter[1].r] found 0", "[adapter[1].lora_rank]"});
  expect(R"([{"name": "a"}, {"name": "a"}])", {"[adapter[1].name] found \"a\" twice"});
  for (const char* name : {"../a", "", "a/b", ".hidden", "checkpoint-5"}) {
    EXPECT_EQ(sandbox.findings(smallest(), {"adapter=" + Json::array({{{"name", name}}}).dump()}).size(), 1u) << name;
  }
  expect(R"([{"learning_rate": 0}])", {"[adapter[0].learning_rate] found 0, expected a number > 0"});
  sandbox.write("out/a/adapter_config.json", R"({"peft_type": "LORA", "target_modules": ["q_proj"]})");
  expect(R"([{"name": "b", "init_from": "out/a"}, {"name": "a"}])", {"[adapter[0].init_from]"});
  expect(R"([{"target_modules": ["q_proj"]}, {"target_modules": ["q_proj"], "task_type": "SEQ_CLS"}])",
         {"[adapter[1].task_type] found \"SEQ_CLS\" with training.objective \"causal_lm\", expected"});
  // What is wrong outside is said once.
  EXPECT_EQ(sandbox.findings(smallest(), {R"(adapter=[{"name": "a"}, {"name": "b"}])", "training.seed=x"}).size(), 1u);
}

TEST(Findings, ARandomBaseIsTrainedWhole) {
  const Sandbox sandbox;
  EXPECT_THAT(sandbox.findings(smallest(), {"model.from_scratch=true"}), ElementsAre(HasSubstr("[model.from_scratch] found true")));
  EXPECT_TRUE(sandbox.load(smallest(), {"model.from_scratch=true", "adapter=null"}).model.from_scratch);
}

TEST(Findings, StrategiesThatGoTogether) {
  const Sandbox sandbox;
  const std::string eval = "data.eval_fraction=0.1";
  for (const std::vector<std::string>& keys : std::vector<std::vector<std::string>>{
           {eval, "training.load_best_model_at_end=true", "training.eval_strategy=epoch", "training.save_strategy=epoch"},
           {eval, "training.load_best_model_at_end=true", "training.eval_steps=3", "training.save_strategy=best"},
           {eval, "training.load_best_model_at_end=true", "training.eval_strategy=steps", "training.save_steps=20"},  // logging_steps is 10
           {eval, "training.load_best_model_at_end=true", "training.eval_steps=0.1", "training.save_steps=0.2"},
           {"training.save_strategy=no", "training.save_steps=0"}}) {
    const RunConfig run = sandbox.load(smallest(), keys);
    EXPECT_TRUE(sandbox.findings(run.resolved).empty()) << "the resolved config is a config: " << keys.back();
  }
  EXPECT_EQ(sandbox.load(smallest(), {"training.save_steps=0"}).resolved["training"]["save_strategy"], "no");
  EXPECT_FALSE(sandbox.load(smallest(), {"training.save_strategy=epoch"}).resolved["training"].contains("save_steps"));
}

TEST(Findings, FileThatIsNoConfig) {
  const Sandbox sandbox;
  const auto message = [&](const std::string& content) -> std::string {
    try {
      load_runs(sandbox.write("bad.json", content), {});
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), 2);
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(message(R"({"model": {}, "model": {}})"), HasSubstr("bad.json:1:"));  // a key twice
  EXPECT_THAT(message("{,}"), HasSubstr("bad.json:1:2"));
  EXPECT_THROW(load_runs(sandbox.folder() / "none.json", {}), Error);
}

}  // namespace
}  // namespace lora::config

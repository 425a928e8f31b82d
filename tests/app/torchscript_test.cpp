// TorchScript base models: train, resume, evaluate, generate, merge, inspect, convert.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process.h"
#include "support/paths.h"
#include "tensor_file.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const fs::path kScripts = fs::path(lora::test::data_folder()) / "torchscript";

class TorchScript : public testing::Test {
 protected:
  std::string module(const std::string& name) const { return (kScripts / "modules" / (name + ".pt")).string(); }
  std::string run_file(const std::string& name) const { return (kScripts / "runs" / name / "run.json").string(); }
  std::string adapter(const std::string& name) const { return (kScripts / "runs" / name / "adapter").string(); }
  std::string out(const std::string& name) const { return (scratch_ / name).string(); }
  Outcome train(const std::string& name, const std::string& folder, std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments{"--config", run_file(name), "--set", "output_dir=" + out(folder)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return lora_train(arguments);
  }

  TemporaryFolder scratch_;
};

double loss_of(const Outcome& evaluated) {
  return evaluated.exit_code == 0 ? Json::parse(evaluated.out)["loss"].get<double>() : NAN;
}

TEST_F(TorchScript, NothingIsLoadedWithoutTrust) {
  const Outcome outcome = train("lm_scripted", "a", {"--set", "model.trust_torchscript=false"});
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("[model.trust_torchscript] found false, expected true"));
  const Outcome evaluated =
      run_tool({"lora-eval", "--model", module("lm_scripted"), "--data", (kScripts / "eval.jsonl").string(), "--format", "tokens"});
  EXPECT_EQ(evaluated.exit_code, 2);
  EXPECT_THAT(evaluated.err, HasSubstr("--trust-torchscript"));
  const Outcome inspected = run_tool({"lora-inspect", module("lm_scripted")});
  EXPECT_EQ(inspected.exit_code, 0) << inspected.err;
  EXPECT_THAT(inspected.out, HasSubstr("not shown"));
}

TEST_F(TorchScript, AFileIsRecognisedByItsContent) {
  const std::string rows = (kScripts / "eval.jsonl").string();
  const auto evaluate = [&](const std::string& model) {
    return run_tool({"lora-eval", "--model", model, "--data", rows, "--format", "tokens", "--trust-torchscript", "--json"});
  };
  const double loss = loss_of(evaluate(module("lm_scripted")));
  for (const char* name : {"m.jit", "m", "m.bin"}) {
    fs::copy_file(module("lm_scripted"), out(name));
    EXPECT_EQ(loss_of(evaluate(out(name))), loss) << name;
    EXPECT_EQ(Json::parse(run_tool({"lora-inspect", out(name), "--json"}).out)["kind"], "torchscript") << name;
  }
  const Outcome trained = train("lm_scripted", "of_jit", {"--set", "model.path=" + out("m.jit"), "--set", "adapter.init_from=null"});
  EXPECT_EQ(trained.exit_code, 0) << trained.err;
  write_text(scratch_ / "no.jit", "a text");
  const Outcome refused = evaluate(out("no.jit"));
  EXPECT_EQ(refused.exit_code, 4);
  EXPECT_THAT(refused.err, HasSubstr("TorchScript file, as torch.jit.save writes it"));
}

TEST_F(TorchScript, AResumedRunGivesTheSameBits) {
  const std::vector<std::string> dropout{"--set", "adapter.lora_dropout=0.2", "--set", "training.save_steps=5",
                                         "--set", "data.shuffle=true"};
  for (const char* name : {"dropout", "lm_traced"}) {
    std::vector<std::string> settings = dropout;
    if (std::string(name) == "dropout") {  // the base model has dropout too
      settings.insert(settings.end(), {"--set", "model.path=" + module("dropout_scripted"), "--set", "adapter.init_from=null"});
    }
    const std::string whole = std::string(name) + "-whole", parts = std::string(name) + "-parts";
    const Outcome straight = train("lm_traced", whole, settings);
    ASSERT_EQ(straight.exit_code, 0) << straight.err;
    ASSERT_EQ(train("lm_traced", parts, settings).exit_code, 0);
    fs::remove_all(scratch_ / parts / "checkpoint-15");
    fs::remove_all(scratch_ / parts / "checkpoint-20");
    fs::remove(scratch_ / parts / "adapter_model.safetensors");
    Json record = Json::parse(read_text(scratch_ / parts / "run.json"));
    record["status"] = "interrupted";
    write_text(scratch_ / parts / "run.json", record.dump());
    const Outcome resumed = train("lm_traced", parts, settings);
    ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
    EXPECT_THAT(resumed.err, testing::AllOf(HasSubstr("Resuming from "), HasSubstr("checkpoint-10")));
    EXPECT_EQ(stored_tensors(scratch_ / parts), stored_tensors(scratch_ / whole));
  }
}

TEST_F(TorchScript, AMergedFileGivesTheAdaptersLosses) {
  for (const char* name : {"lm_scripted", "gpt2_traced", "hidden", "tied_scripted"}) {
    SCOPED_TRACE(name);
    const std::string merged = out(std::string(name) + ".pt");
    const Outcome merge =
        run_tool({"lora-merge", "--model", module(name), "--trust-torchscript", "--adapter", adapter(name), "--output", merged});
    ASSERT_EQ(merge.exit_code, 0) << merge.err;
    const std::vector<std::string> rest{
        "--trust-torchscript", "--data", (kScripts / "eval.jsonl").string(), "--format", "tokens", "--json"};
    std::vector<std::string> adapted{"lora-eval", "--model", module(name), "--adapter", adapter(name)};
    std::vector<std::string> plain{"lora-eval", "--model", merged}, base{"lora-eval", "--model", module(name)};
    for (std::vector<std::string>* command : {&adapted, &plain, &base}) {
      command->insert(command->end(), rest.begin(), rest.end());
    }
    const double expected = loss_of(run_tool(adapted));
    EXPECT_NEAR(loss_of(run_tool(plain)), expected, 1e-5);
    EXPECT_GT(std::abs(loss_of(run_tool(base)) - expected), 1e-4);
  }
}

TEST_F(TorchScript, EveryMethodTrainsAndMerges) {
  const std::vector<std::vector<std::string>> methods{
      {"lm_scripted", "adapter.use_dora=true", "adapter.target_modules=\"all-linear\""},
      {"lm_scripted", "adapter.init_lora_weights=eva", "adapter.bias=all"},
      {"lm_scripted", "adapter.init_lora_weights=pissa", "adapter.rank_pattern={\"q_proj\": 2}"},
      {"lm_scripted", "adapter.lora_bias=true", "adapter.modules_to_save=[\"head\"]", "adapter.use_rslora=true"},
      {"lm_scripted", "adapter.target_modules=[\"embed\", \"q_proj\"]"},
      {"lm_scripted", "adapter.trainable_token_indices=[1, 2, 3]"},
      {"hidden", "adapter.target_modules=[\"mix\", \"up\"]", "adapter.use_dora=true", "adapter.modules_to_save=[\"norm\"]"},
  };
  const std::vector<std::string> rest{"--trust-torchscript", "--data", (kScripts / "eval.jsonl").string(), "--format", "tokens", "--json"};
  for (const std::vector<std::string>& method : methods) {
    SCOPED_TRACE(method[1]);
    const std::string base = module(method[0]), adapter_folder = out("trained"), merged = out("merged.pt");
    std::vector<std::string> settings{"--overwrite",         "--set", "model.path=" + base, "--set", "adapter.init_from=null", "--set",
                                      "training.max_steps=3"};
    for (size_t i = 1; i < method.size(); ++i) {
      settings.insert(settings.end(), {"--set", method[i]});
    }
    const Outcome trained = train("lm_scripted", "trained", settings);
    ASSERT_EQ(trained.exit_code, 0) << trained.err;
    const Outcome merge =
        run_tool({"lora-merge", "--model", base, "--trust-torchscript", "--adapter", adapter_folder, "--output", merged, "--overwrite"});
    ASSERT_EQ(merge.exit_code, 0) << merge.err;
    std::vector<std::string> adapted{"lora-eval", "--model", base, "--adapter", adapter_folder}, plain{"lora-eval", "--model", merged};
    adapted.insert(adapted.end(), rest.begin(), rest.end());
    plain.insert(plain.end(), rest.begin(), rest.end());
    std::vector<std::string> untouched{"lora-eval", "--model", base};
    untouched.insert(untouched.end(), rest.begin(), rest.end());
    const double expected = loss_of(run_tool(adapted));
    EXPECT_NEAR(loss_of(run_tool(plain)), expected, 1e-5);
    EXPECT_GT(std::abs(loss_of(run_tool(untouched)) - expected), 1e-4);
  }
}

TEST_F(TorchScript, UnsupportedSettingsAreErrors) {
  const Outcome whole = train("lm_scripted", "a", {"--set", "adapter=null"});
  EXPECT_EQ(whole.exit_code, 2);
  EXPECT_THAT(whole.err, HasSubstr("[adapter] found null"));
  const Outcome recomputed = train("lm_scripted", "a", {"--set", "training.gradient_checkpointing=full"});
  EXPECT_EQ(recomputed.exit_code, 2);
  EXPECT_THAT(recomputed.err, HasSubstr("[training.gradient_checkpointing] found \"full\""));
}

TEST_F(TorchScript, AMergeThatChangesMoreThanTheAdapterIsRefused) {
  const Outcome tied = run_tool({"lora-merge", "--model", module("llama_tied_traced"), "--trust-torchscript", "--adapter",
                                 adapter("llama_tied_traced"), "--output", out("a.pt")});
  EXPECT_EQ(tied.exit_code, 4);
  EXPECT_THAT(tied.err, HasSubstr("traced with tied weights"));
  EXPECT_FALSE(fs::exists(scratch_ / "a.pt"));
}

TEST_F(TorchScript, AMergeIsVerifiedBeforeItAppears) {
  const auto merge = [this](const std::string& name, const std::vector<std::string>& more) {
    std::vector<std::string> command{"lora-merge", "--model",         module(name), "--trust-torchscript", "--adapter", adapter(name),
                                     "--output",   out(name + ".pt"), "--verify"};
    command.insert(command.end(), more.begin(), more.end());
    return run_tool(command);
  };
  const Outcome refused = merge("lm_scripted", {"--tolerance", "1e-12"});
  EXPECT_EQ(refused.exit_code, 4);
  EXPECT_THAT(refused.err, testing::AllOf(HasSubstr("the merged model differs"), HasSubstr("Nothing was written")));
  EXPECT_TRUE(fs::is_empty(scratch_.path()));
  for (const char* name : {"lm_scripted", "hidden", "lm_bfloat16", "tied_rows"}) {
    const Outcome outcome = merge(name, {});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr("verified: largest logit difference"));
    EXPECT_TRUE(fs::exists(scratch_ / (std::string(name) + ".pt")));
  }
  const std::vector<std::string> fields{"--inputs", "input_ids,attention_mask,labels"};
  EXPECT_THAT(merge("tuple_traced", fields).err, HasSubstr("returns no logits: found a tensor []"));  // its loss
  const Outcome second = merge("tuple_traced", {"--inputs", "input_ids,attention_mask,labels", "--output-field", "1"});
  EXPECT_EQ(second.exit_code, 0) << second.err;
}

TEST_F(TorchScript, AMergeKeepsExtraFiles) {
  const Outcome merge = run_tool({"lora-merge", "--model", module("tied_bias"), "--trust-torchscript", "--adapter", adapter("tied_bias"),
                                  "--output", out("merged.pt")});
  ASSERT_EQ(merge.exit_code, 0) << merge.err;
  const std::string merged = read_text(scratch_ / "merged.pt");
  EXPECT_THAT(merged, HasSubstr("/extra/notes.txt"));
  EXPECT_THAT(merged, HasSubstr("kept through a merge"));
}

TEST_F(TorchScript, WarnsOfTargetsThatCouldNotBeChecked) {
  const std::vector<std::string> settings{"--set", "model.path=" + module("late"), "--set", "adapter.init_from=null"};
  std::vector<std::string> both = settings, one = settings;
  both.insert(both.end(), {"--set", "adapter.target_modules=[\"late\", \"q_proj\"]"});
  one.insert(one.end(), {"--set", "adapter.target_modules=[\"q_proj\"]"});
  EXPECT_THAT(train("lm_traced", "both", both).err, HasSubstr("the batch that was tried while loading did not use late,"));
  EXPECT_THAT(train("lm_traced", "one", one).err, testing::Not(HasSubstr("did not use")));
}

TEST_F(TorchScript, GeneratesWithoutACache) {
  write_text(scratch_ / "prompts.jsonl", "{\"input_ids\": [3, 5, 7]}\n{\"input_ids\": [2]}\n");
  const Outcome outcome =
      run_tool({"lora-generate", "--model", module("llama_traced"), "--trust-torchscript", "--adapter", adapter("llama_traced"),
                "--prompts", out("prompts.jsonl"), "--output", out("texts.jsonl"), "--max-new-tokens", "6"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const std::vector<Json> rows = read_rows(scratch_ / "texts.jsonl");
  ASSERT_EQ(rows.size(), 2);
  EXPECT_EQ(rows[0]["output_ids"].size(), 6) << rows[0].dump();
}

TEST_F(TorchScript, InspectShowsWhatCanBeAdaptedAndWhyNot) {
  const Outcome outcome = run_tool({"lora-inspect", module("hidden"), "--trust-torchscript", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json facts = Json::parse(outcome.out);
  EXPECT_EQ(facts["arguments"], Json::array({"input_ids", "attention_mask"}));
  std::map<std::string, Json> weights;
  for (const Json& weight : facts["weights"]) {
    weights[weight["name"]] = weight;
  }
  EXPECT_EQ(weights.at("inner.layers.0.q_proj.weight")["shape"], Json::array({16, 16}));
  EXPECT_THAT(weights.at("mix.weight")["note"].get<std::string>(), HasSubstr("aten::matmul"));
  EXPECT_EQ(weights.at("mix.weight")["slot"], "mix");
  EXPECT_FALSE(weights.at("inner.norm.weight")["is_adaptable"].get<bool>());
  EXPECT_THAT(run_tool({"lora-inspect", module("hidden"), "--trust-torchscript"}).out, HasSubstr("W + scale B A"));
}

TEST_F(TorchScript, AnAdapterIsRenamedForItsHuggingFaceModel) {
  const Outcome outcome =
      run_tool({"lora-convert", "--adapter", adapter("llama_traced"), "--rename", "^model\\.=", "--to", "peft", "--output", out("hf")});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto tensors = stored_tensors(scratch_ / "hf");
  EXPECT_EQ(tensors.count("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"), 1);
  const Outcome idle = run_tool({"lora-convert", "--adapter", adapter("llama_traced"), "--rename", "^nothing=x", "--output", out("b")});
  EXPECT_EQ(idle.exit_code, 2);
  EXPECT_THAT(idle.err, HasSubstr("[--rename] changes no name"));
  const Outcome clash =
      run_tool({"lora-convert", "--adapter", adapter("llama_traced"), "--rename", "layers\\.1=layers.0", "--output", out("b")});
  EXPECT_EQ(clash.exit_code, 2);
  EXPECT_THAT(clash.err, HasSubstr("two modules the same name"));
}

}  // namespace
}  // namespace lora::test

#include "lora/config/run_config.h"

#include <gmock/gmock.h>

#include <set>

#include "config/schema_check.h"
#include "data/formats.h"
#include "lora/base/file.h"
#include "sandbox.h"
#include "support/paths.h"

namespace lora::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(RunConfig, DefaultsAreThoseOfTransformersAndPeft) {
  const Sandbox sandbox;
  const RunConfig run = sandbox.load(smallest());
  EXPECT_EQ(run.model.path, sandbox.folder() / "base");
  EXPECT_EQ(run.model.name, "./base");
  EXPECT_EQ(run.model.tokenizer, run.model.path);
  EXPECT_EQ(run.model.dtype, models::ComputeDtype::kAuto);
  EXPECT_EQ(run.model.base_dropout, std::nullopt);
  EXPECT_EQ(run.output_dir, sandbox.folder() / "out");
  EXPECT_EQ(run.data.train.at(0).path, (sandbox.folder() / "rows.jsonl").string());
  EXPECT_EQ(run.data.train.at(0).format, data::RowFormat::kTokens);
  EXPECT_EQ(run.adapter->config, Json::parse(R"({"target_modules": ["q_proj"]})"));
  EXPECT_EQ(run.resolved["training"],
            Json::parse(R"({ "num_train_epochs": 3, "max_steps": -1, "per_device_train_batch_size": 8, "per_device_eval_batch_size": 8,
    "gradient_accumulation_steps": 1, "learning_rate": 5e-05, "lr_scheduler_type": "linear", "lr_scheduler_kwargs": {},
    "warmup_steps": 0, "warmup_ratio": 0, "weight_decay": 0, "optim": "adamw_torch_fused", "optim_state_file": null, "weight_update": "in_place", "adam_beta1": 0.9, "adam_beta2":
    0.999, "adam_epsilon": 1e-08, "loraplus_lr_ratio": null, "train_parameters": null, "max_grad_norm": 1, "seed": 42, "logging_steps": 10, "eval_strategy": null, "eval_steps": null, "eval_on_start":
    false, "save_strategy": "steps", "save_steps": 500, "save_total_limit": null, "load_best_model_at_end": false, "metric_for_best_model": "eval_loss",
    "early_stopping_patience": null, "gradient_checkpointing": "off", "report_to": "none", "deterministic": false, "cuda_graphs": false, "profile": null, "objective":
    "causal_lm"})"));
  EXPECT_EQ(run.resolved["adapter"],
            Json::parse(
                R"({ "peft_type": "LORA", "r": 8, "lora_alpha": 8, "lora_dropout": 0, "target_modules": ["q_proj"], "exclude_modules": null,
    "layers_to_transform": null, "layers_pattern": null, "rank_pattern": {}, "alpha_pattern": {}, "bias": "none", "use_rslora":
    false, "use_dora": false, "init_lora_weights": true, "modules_to_save": null, "init_from": null})"));
}

TEST(RunConfig, EveryValueArrives) {
  const Sandbox sandbox;
  Json document = smallest();
  document["model"] =
      Json::parse(R"({"path": "base", "dtype": "float16", "device": "cuda:3", "tokenizer": "t/tokenizer.model", "base_dropout": 0.25})");
  document["data"] =
      Json::parse(R"({"train": [{"path": "-", "format": "prompt_completion", "columns": {"prompt": "q"}, "weight": 2, "limit": 7}], "eval":
    [{"path": "/abs/*.txt", "format": "text", "documents": "file"}, {"path": "r.jsonl", "format": "messages"}],
    "max_length": 64.0, "overlength": "split", "packing": true, "train_on": "all", "append_eos": false, "chat_template": "own/chat.jinja",
    "shuffle": false, "cache_dir": "kept/rows", "tokens_per_batch": 0})");
  document["training"] =
      Json::parse(R"({"num_train_epochs": 1.5, "max_steps": 9, "per_device_train_batch_size": 2, "per_device_eval_batch_size": 3,
    "gradient_accumulation_steps": 4, "learning_rate": 0.1, "lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs":
    {"num_decay_steps": 5, "num_stable_steps": 6, "num_cycles": 0.25, "min_lr_ratio": 0.1, "warmup_type": "cosine", "decay_type":
    "1-sqrt"}, "warmup_ratio": 0.5, "weight_decay": 0.2, "optim": "adamw_8bit", "optim_state_file": "states", "weight_update": "master_weights", "adam_beta1": 0.5, "adam_beta2": 0.6, "adam_epsilon":
    0.7, "max_grad_norm": 0, "seed": 1, "logging_steps": 2, "eval_steps": 3, "eval_on_start": true, "save_steps": 6, "save_total_limit": 2,
    "load_best_model_at_end": true, "metric_for_best_model": "perplexity", "early_stopping_patience": 4,
    "gradient_checkpointing": "selective", "report_to": [], "deterministic": true, "cuda_graphs": true, "profile": {"steps": [2, 4]}, "objective":
    "causal_lm"})");
  std::filesystem::create_directories(sandbox.folder() / "base");
  sandbox.write("own/chat.jinja", "x");
  const RunConfig run = sandbox.load(document);
  EXPECT_EQ(run.model.name, "base");
  EXPECT_EQ(run.model.dtype, models::ComputeDtype::kFloat16);
  EXPECT_EQ(run.model.device, "cuda:3");
  EXPECT_EQ(run.model.tokenizer, sandbox.folder() / "t/tokenizer.model");
  EXPECT_FALSE(run.model.from_scratch);
  EXPECT_EQ(run.model.base_dropout, 0.25);
  const data::SourceOptions& source = run.data.train.at(0);
  EXPECT_EQ(source.path, "-");
  EXPECT_EQ(source.format, data::RowFormat::kPromptCompletion);
  EXPECT_EQ(source.columns.at("prompt"), "q");
  EXPECT_EQ(source.weight, 2);
  EXPECT_EQ(source.limit, 7);
  EXPECT_EQ(run.data.eval.at(0).path, "/abs/*.txt");
  EXPECT_EQ(run.data.eval.at(0).documents, data::TextDocuments::kFile);
  EXPECT_EQ(run.data.max_length, 64);
  EXPECT_EQ(run.data.overlength, data::Overlength::kSplit);
  EXPECT_EQ(run.data.train_on, data::TrainOn::kAll);
  EXPECT_TRUE(run.data.packing && !run.data.append_eos && !run.data.shuffle);
  EXPECT_EQ(run.data.chat_template, (sandbox.folder() / "own/chat.jinja").string());
  EXPECT_EQ(run.data.cache_dir, sandbox.folder() / "kept/rows");
  EXPECT_EQ(run.data.tokens_per_batch, 0);
  const train::TrainOptions& t = run.training;
  EXPECT_EQ(std::make_tuple(t.num_train_epochs, t.max_steps, t.per_device_train_batch_size, t.per_device_eval_batch_size,
                            t.gradient_accumulation_steps),
            std::make_tuple(1.5, 9, 2, 3, 4));
  EXPECT_EQ(std::make_tuple(t.learning_rate, t.warmup_steps, t.warmup_ratio, t.max_grad_norm, t.seed),
            std::make_tuple(0.1, 0.0, 0.5, 0.0, 1u));
  EXPECT_EQ(t.schedule.kind, optim::ScheduleKind::kWarmupStableDecay);
  EXPECT_EQ(std::make_tuple(t.schedule.num_decay_steps, t.schedule.num_stable_steps, t.schedule.num_cycles, t.schedule.min_lr_ratio),
            std::make_tuple(5, 6, 0.25, 0.1));
  EXPECT_EQ(std::make_pair(t.schedule.warmup_type, t.schedule.decay_type),
            std::make_pair(optim::RampKind::kCosine, optim::RampKind::kOneMinusSqrt));
  EXPECT_EQ(t.optimizer.kind, optim::OptimizerKind::kAdamW8bit);
  EXPECT_EQ(t.optimizer.state_file, sandbox.folder() / "states");
  EXPECT_EQ(run.resolved["training"]["optim_state_file"], (sandbox.folder() / "states").string());
  EXPECT_TRUE(run.training.optimizer.weight_update == optim::WeightUpdate::kMasterWeights && run.training.optimizer.rounding_seed == 1);
  EXPECT_EQ(std::make_tuple(t.optimizer.beta1, t.optimizer.beta2, t.optimizer.epsilon, t.optimizer.weight_decay),
            std::make_tuple(0.5, 0.6, 0.7, 0.2));
  EXPECT_EQ(std::make_tuple(t.logging_steps, *t.eval_steps, t.save_steps, *t.save_total_limit, *t.early_stopping_patience),
            std::make_tuple(2, 3, 6, 2, 4));
  EXPECT_TRUE(t.load_best_model_at_end && t.deterministic && t.cuda_graphs && t.eval_on_start);
  EXPECT_EQ(t.metric_for_best_model, "eval_perplexity");
  EXPECT_EQ(std::make_pair(t.profile->first, t.profile->last), (std::pair<int64_t, int64_t>(2, 4)));
  EXPECT_EQ(run.resolved["training"]["profile"], Json::parse(R"({"steps": [2, 4]})"));
}

TEST(RunConfig, ATokenBudgetStandsInPlaceOfTheBatchSize) {
  const Sandbox sandbox;
  const RunConfig run = sandbox.load(smallest(), {"data.tokens_per_batch=4096"});
  EXPECT_EQ(run.data.tokens_per_batch, 4096);
  EXPECT_FALSE(run.resolved["training"].contains("per_device_train_batch_size")) << "it would be refused with the budget";
  EXPECT_EQ(sandbox.load(run.resolved).resolved, run.resolved);
  const RunConfig found = sandbox.load(smallest(), {"training.per_device_train_batch_size=auto"});
  EXPECT_TRUE(found.training.finds_batch_size);
  EXPECT_EQ(found.resolved["training"]["per_device_train_batch_size"], "auto");

  const RunConfig both = sandbox.load(smallest(), {"data.tokens_per_batch=0", "training.per_device_train_batch_size=4"});
  EXPECT_EQ(both.resolved["training"]["per_device_train_batch_size"], 4);
}

TEST(RunConfig, Overrides) {
  const Sandbox sandbox;
  const RunConfig run =
      sandbox.load(smallest(), {"training.learning_rate=1e-4", "output_dir=runs/x/", "adapter.rank_pattern={\"layers.0.q_proj\": 2}",
                                "data.train.1={\"path\": \"b.txt\", \"format\": \"text\"}", "data.train.0.path=a=b.jsonl", "adapter.r=4"});
  EXPECT_EQ(run.training.learning_rate, 1e-4);
  EXPECT_EQ(run.output_dir, sandbox.folder() / "runs/x");
  EXPECT_EQ(run.adapter.as<peft::LoraOptions>()->rank_pattern.at(0).second, 2);
  EXPECT_EQ(run.data.train.at(0).path, (sandbox.folder() / "a=b.jsonl").string());
  EXPECT_EQ(run.data.train.at(1).format, data::RowFormat::kText);
  EXPECT_EQ(run.adapter.as<peft::LoraOptions>()->r, 4);
  EXPECT_FALSE(sandbox.load(smallest(), {"adapter=null"}).adapter);

  const auto expect = [&](const std::string& setting, const std::string& finding) {
    EXPECT_THAT(sandbox.findings(smallest(), {setting}), ElementsAre(HasSubstr(finding))) << setting;
  };
  expect("training.learning_rate", "[--set training.learning_rate] is not a setting, expected section.key=value");
  expect("=3", "is not a setting");
  expect("training..seed=3", "is not a setting");
  expect("model.path.x=3", "cannot set 'x' in 'model.path': found \"./base\", expected an object");
  expect("data.train.5.path=x", "cannot set '5' in 'data.train': found 5, expected an index from 0 to 1");
  expect("data.train.first.path=x", "expected an index from 0 to 1");
  expect("output_dir=\xff", "is not valid UTF-8");
  Json full = smallest();
  full["adapter"] = nullptr;
  EXPECT_THAT(sandbox.findings(full, {"adapter.r=4"}),
              ElementsAre(HasSubstr("cannot set 'r' in 'adapter': found null, expected an object")));
}

TEST(RunConfig, SeveralAdaptersAreARunEach) {
  const Sandbox sandbox;
  Json document = smallest();
  document["adapter"] = Json::parse(R"([{"name": "small", "r": 4, "target_modules": ["q_proj"], "learning_rate": 0.01},
                                        {"r": 16, "target_modules": "all-linear"}])");
  document["training"] = Json{{"learning_rate", 0.002}};
  const RunList list = load_runs(sandbox.write("run.json", document.dump()), {"adapter.1.lora_alpha=3"});
  ASSERT_EQ(list.runs.size(), 2u);
  const RunConfig& small = list.runs[0];
  EXPECT_EQ(small.name, "small");
  EXPECT_EQ(small.output_dir, sandbox.folder() / "out/small");
  EXPECT_EQ(small.adapter.as<peft::LoraOptions>()->r, 4);
  EXPECT_EQ(small.training.learning_rate, 0.01);
  EXPECT_EQ(list.runs[1].output_dir, sandbox.folder() / "out/adapter_1");
  EXPECT_EQ(list.runs[1].adapter.as<peft::LoraOptions>()->lora_alpha, 3);
  EXPECT_EQ(list.runs[1].training.learning_rate, 0.002);
  // Each run equals that of a single adapter: its resolved config has no list.
  EXPECT_EQ(sandbox.load(small.resolved).resolved, small.resolved);
  EXPECT_EQ(small.resolved["adapter"]["r"], 4);
  EXPECT_FALSE(small.resolved["adapter"].contains("name"));
  // The whole parses to itself.
  EXPECT_EQ(load_runs(sandbox.write("again.json", list.resolved.dump()), {}).resolved, list.resolved);
  EXPECT_EQ(list.resolved["training"]["learning_rate"], 0.002);
}

TEST(RunConfig, ModelFromTheHubCache) {
  const Sandbox sandbox;
  sandbox.write("hub/models--org--tiny/refs/main", "abc");
  sandbox.write("hub/models--org--tiny/snapshots/abc/config.json", "{}");
  const Surroundings surroundings{{sandbox.folder() / "nowhere", sandbox.folder() / "hub"}};
  const RunConfig run = sandbox.load(smallest(), {"model.path=org/tiny"}, surroundings);
  EXPECT_EQ(run.model.path, sandbox.folder() / "hub/models--org--tiny/snapshots/abc");
  EXPECT_EQ(run.model.name, "org/tiny");
  EXPECT_EQ(run.model.tokenizer, run.model.path);
  EXPECT_EQ(run.resolved["model"]["path"], "org/tiny");
  EXPECT_THAT(
      sandbox.findings(smallest(), {"model.path=org/other"}, surroundings, 4),
      ElementsAre(::testing::AllOf(HasSubstr("[model.path] found \"org/other\""), HasSubstr((sandbox.folder() / "org/other").string()),
                                   HasSubstr((sandbox.folder() / "hub").string()), HasSubstr("nothing is downloaded"))));
  // A folder of that name next to the config takes precedence.
  std::filesystem::create_directories(sandbox.folder() / "org/tiny");
  EXPECT_EQ(sandbox.load(smallest(), {"model.path=org/tiny"}, surroundings).model.path, sandbox.folder() / "org/tiny");

  const auto caches = [](const std::map<std::string, std::string>& variables) {
    return read_surroundings([&](const char* name) { return variables.count(name) > 0 ? variables.at(name).c_str() : nullptr; }).hub_caches;
  };
  EXPECT_THAT(caches({{"HF_HUB_CACHE", "/c"}, {"HF_HOME", "/h"}, {"HOME", "/u"}}), ElementsAre("/c"));
  EXPECT_THAT(caches({{"HF_HUB_CACHE", ""}, {"HF_HOME", "/h"}, {"HOME", "/u"}}), ElementsAre("/h/hub"));
  EXPECT_THAT(caches({{"HOME", "/u"}}), ElementsAre("/u/.cache/huggingface/hub"));
  EXPECT_TRUE(caches({}).empty());
}

std::vector<std::filesystem::path> committed_configs() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(lora::test::source_folder()) / "configs")) {
    if (entry.path().extension() == ".json") {
      files.push_back(entry.path());
    }
  }
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(lora::test::data_folder()) / "llama")) {
    if (std::filesystem::exists(entry.path() / "run.json")) {
      files.push_back(entry.path() / "run.json");
    }
  }
  return files;
}

TEST(RunConfig, CommittedConfigsParseAndResolvedMeansTheSame) {
  const Sandbox sandbox;
  const Json schema = run_config_schema();
  size_t examples = 0;
  for (const std::filesystem::path& file : committed_configs()) {
    SCOPED_TRACE(file);
    examples += file.parent_path().filename() == "configs" ? 1 : 0;
    EXPECT_TRUE(satisfies(schema, read_json(file, ErrorKind::kConfig)));
    const RunConfig run = load_runs(file, {}).runs.front();
    EXPECT_TRUE(satisfies(schema, run.resolved));
    const RunConfig again = sandbox.load(run.resolved);  // from another folder
    EXPECT_EQ(again.resolved.dump(2), run.resolved.dump(2));
    EXPECT_EQ(again.model.path, run.model.path);
    EXPECT_EQ(again.model.tokenizer, run.model.tokenizer);
    EXPECT_EQ(again.output_dir, run.output_dir);
    ASSERT_EQ(bool(again.adapter), bool(run.adapter));
    if (const auto* const lora = run.adapter.as<peft::LoraOptions>()) {
      ASSERT_NE(again.adapter.as<peft::LoraOptions>(), nullptr);
      EXPECT_EQ(again.adapter.as<peft::LoraOptions>()->target_modules.names, lora->target_modules.names);
      EXPECT_EQ(again.adapter.as<peft::LoraOptions>()->rank_pattern, lora->rank_pattern);
      EXPECT_EQ(again.adapter.as<peft::LoraOptions>()->lora_alpha, lora->lora_alpha);
    }
    EXPECT_EQ(again.training.warmup_ratio, run.training.warmup_ratio);
    EXPECT_EQ(again.training.schedule.num_decay_steps, run.training.schedule.num_decay_steps);
  }
  EXPECT_GE(examples, 6u);
}

/// Keys of the schema and of a resolved config, by path; keys that are only shown where given are left out.
void compare_keys(const Json& schema, const Json& resolved, const std::string& path) {
  for (const auto& [key, value] : resolved.items()) {
    ASSERT_TRUE(schema["properties"].contains(key)) << path << key;
  }
  for (const auto& [key, property] : schema["properties"].items()) {
    if (property.contains("default")) {
      ASSERT_TRUE(resolved.contains(key)) << path << key;
      EXPECT_TRUE(satisfies(property, property["default"])) << path << key;
    }
  }
}

TEST(RunConfig, SchemaAndResolvedHaveTheSameKeys) {
  const Sandbox sandbox;
  const Json schema = run_config_schema();
  const Json resolved = sandbox.load(smallest()).resolved;
  EXPECT_EQ(resolved.size(), schema["properties"].size());
  for (const char* section : {"model", "data", "training"}) {
    compare_keys(schema["properties"][section], resolved[section], std::string(section) + ".");
  }
  compare_keys(schema["properties"]["adapter"]["anyOf"][0], resolved["adapter"], "adapter.");
  compare_keys(schema["properties"]["data"]["properties"]["train"]["items"], resolved["data"]["train"][0], "data.train[].");
  EXPECT_EQ(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
  EXPECT_EQ(schema["properties"]["training"]["properties"]["optim"]["enum"], Json(optim::kOptimizers.names()));
  for (const char* bad : {R"({"path": 3})", R"({"path": "x", "pfad": "y"})", R"({})", R"({"path": "x", "dtype": "int8"})"}) {
    Json document = smallest();
    EXPECT_TRUE(satisfies(schema, document));
    document["model"] = Json::parse(bad);
    EXPECT_FALSE(satisfies(schema, document)) << bad;
  }
}

/// Every example below a schema satisfies the schema of its key.
void expect_valid_examples(const Json& schema, const std::string& path) {
  for (const Json& example : schema.value("examples", Json::array())) {
    EXPECT_TRUE(satisfies(schema, example)) << path << ": " << example;
  }
  const Json properties = schema.value("properties", Json::object());
  for (const auto& [key, property] : properties.items()) {
    expect_valid_examples(property, path + "." + key);
  }
  for (const Json& alternative : schema.value("anyOf", Json::array())) {
    expect_valid_examples(alternative, path);
  }
  if (schema.contains("items")) {
    expect_valid_examples(schema["items"], path + "[]");
  }
}

TEST(RunConfig, ExamplesInTheSchemaAreValid) {
  const Json schema = run_config_schema();
  EXPECT_EQ(schema["properties"]["training"]["properties"]["learning_rate"]["examples"], Json::array({2e-4}));
  expect_valid_examples(schema, "");
}

TEST(RunConfig, ColumnsAreTheFieldsOfTheFormats) {
  const Json items = run_config_schema()["properties"]["data"]["properties"]["train"]["items"];
  std::set<std::string> fields;
  const Sandbox sandbox;
  for (const auto& entry : data::kRowFormats.entries) {
    const data::Format& format = data::format_of(entry.value);
    Json document = smallest();
    document["data"]["train"][0]["format"] = entry.name;
    if (entry.value == data::RowFormat::kClassification) {
      document["training"]["objective"] = "sequence_classification";
    }
    if (entry.value == data::RowFormat::kFeatures) {
      document["model"]["path"] = "./m.pt";
      document["training"]["objective"] = "regression";
    }
    if (data::facts_of(entry.value).content == data::RowContent::kImages) {
      document["training"]["objective"] = "denoising";
    }
    for (const auto* names : {&format.required, &format.optional}) {
      for (const std::string& field : *names) {
        document["data"]["train"][0]["columns"][field] = "x";
        fields.insert(field);
      }
    }
    EXPECT_THAT(sandbox.findings(document), ElementsAre());
  }
  const auto names = items["properties"]["columns"]["propertyNames"]["enum"].get<std::set<std::string>>();
  EXPECT_EQ(names, fields);
}

TEST(RunConfig, RowsForAModuleNeedOne) {
  const Sandbox sandbox;
  Json document = smallest();
  document["training"]["objective"] = "module_loss";
  EXPECT_THAT(sandbox.findings(document), ElementsAre(HasSubstr("[training.objective] found \"module_loss\" with a model that is not")));
  document["model"]["path"] = "./m.pt";
  EXPECT_THAT(sandbox.findings(document), ElementsAre());  // rows of any format
  document["data"]["packing"] = true;
  document["adapter"]["init_lora_weights"] = "eva";
  EXPECT_THAT(sandbox.findings(document),
              ElementsAre(HasSubstr("[data.packing] found true"), HasSubstr("EVA analyses the tokens to predict")));
  document = smallest();
  document["training"]["objective"] = "sequence_classification";
  document["data"]["train"][0]["format"] = "features";
  EXPECT_THAT(sandbox.findings(document), ElementsAre(HasSubstr("[data.train[0].format] found \"features\" with a model that is not")));
  document["model"]["path"] = "./m.pt";
  EXPECT_THAT(sandbox.findings(document), ElementsAre());
  document["adapter"]["task_type"] = "SEQ_CLS";
  EXPECT_THAT(sandbox.findings(document), ElementsAre(HasSubstr("[adapter.task_type]")));
  document["adapter"].erase("task_type");
  document["training"]["objective"] = "regression";
  document["training"]["cuda_graphs"] = true;
  EXPECT_THAT(sandbox.findings(document),
              ElementsAre(HasSubstr("[training.cuda_graphs] found true with training.objective \"regression\"")));
  document["training"].erase("cuda_graphs");
  document["data"]["overlength"] = "split";
  EXPECT_THAT(sandbox.findings(document), ElementsAre(HasSubstr("[data.overlength]")));
  document["training"]["objective"] = "causal_lm";
  document["data"].erase("overlength");
  EXPECT_THAT(sandbox.findings(document), ElementsAre(HasSubstr("[data.train[0].format] found \"features\"")));
}

}  // namespace
}  // namespace lora::config

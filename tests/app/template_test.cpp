// The chat template is saved with its results: adapters, merged and fully fine-tuned models. Also messages on prompts and texts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "chat_model.h"
#include "support/paths.h"
#include "tensor_file.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

class Templates : public ChatModel {
 protected:
  Outcome run(const std::string& program, const Arguments& more) const {
    Arguments all{program, "--model", path("model")};
    all.insert(all.end(), more.begin(), more.end());
    return run_tool(all);
  }
  /// The results of lora-eval, one for each adapter.
  std::vector<Json> eval(const Arguments& more, const std::string& format = "messages") const {
    Arguments all{"--data", path("rows.jsonl"), "--format", format, "--json"};
    all.insert(all.end(), more.begin(), more.end());
    const Outcome outcome = run("lora-eval", all);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    if (outcome.exit_code != 0) {
      return {};
    }
    const Json found = Json::parse(outcome.out);
    return found.contains("results") ? found["results"].get<std::vector<Json>>() : std::vector<Json>{found};
  }
  void train_well(const std::string& rows, const std::string& format, const std::string& output, const Arguments& more = {}) const {
    const Outcome outcome = train(rows, format, output, more);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  }
  std::string out(const Outcome& outcome) const {
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.out;
  }
};

TEST_F(Templates, AreSavedWithAnAdapter) {
  train_well("rows.jsonl", "messages", "chatml", {"--set", "data.chat_template=chatml", "--set", "training.save_steps=2"});
  train_well("rows.jsonl", "messages", "own");
  const std::string saved = read_text(scratch_ / "chatml/chat_template.jinja");
  EXPECT_THAT(saved, HasSubstr("<|im_start|>"));
  EXPECT_EQ(read_text(scratch_ / "chatml/checkpoint-2/chat_template.jinja"), saved);
  EXPECT_EQ(read_text(scratch_ / "own/chat_template.jinja"), kTemplate);

  // Evaluation: the adapter's own template is the default, a named one takes precedence, each of several adapters uses its own.
  const Json named = eval({"--adapter", path("chatml"), "--chat-template", "chatml"})[0];
  EXPECT_EQ(eval({"--adapter", path("chatml")})[0]["loss"], named["loss"]);
  EXPECT_EQ(eval({"--adapter", path("chatml/checkpoint-2")})[0]["num_input_tokens"], named["num_input_tokens"]);
  const Json own = eval({"--adapter", path("own")})[0];
  EXPECT_NE(own["num_input_tokens"], named["num_input_tokens"]);
  EXPECT_EQ(eval({"--adapter", path("chatml"), "--chat-template", "model"})[0]["num_input_tokens"], own["num_input_tokens"]);
  const auto both = eval({"--adapter", "a=" + path("chatml"), "--adapter", "b=" + path("own"), "--compare-base"});
  ASSERT_EQ(both.size(), 3U);
  EXPECT_EQ(both[0]["num_input_tokens"], named["num_input_tokens"]);  // the base model reads the same text as the first adapter
  EXPECT_EQ(both[1]["loss"], named["loss"]);
  EXPECT_EQ(both[2]["loss"], own["loss"]);

  // Generation with rows, a message and a chat.
  write_text(scratch_ / "prompts.jsonl", R"({"messages": [{"role": "user", "content": "the river"}], "adapter": "a"})"
                                         "\n"
                                         R"({"messages": [{"role": "user", "content": "the river"}], "adapter": "b"})");
  const Arguments adapters{"--adapter", "a=" + path("chatml"), "--adapter", "b=" + path("own")};
  const auto with = [&](Arguments more, const std::string& input = "") {
    more.insert(more.end(), adapters.begin(), adapters.end());
    return out(generate(more, input));
  };
  const std::string rows = with({"--prompts", path("prompts.jsonl")});
  const Json first = Json::parse(rows.substr(0, rows.find('\n')));
  const Json second = Json::parse(rows.substr(rows.find('\n') + 1));
  const std::string one = "{\"messages\": [{\"role\": \"user\", \"content\": \"the river\"}]}";
  const auto alone = [&](const std::string& adapter, const std::string& name) {
    return Json::parse(out(generate({"--adapter", path(adapter), "--chat-template", name, "--prompts", "-"}, one)))["output_ids"];
  };
  EXPECT_EQ(first["output_ids"], alone("chatml", "chatml"));
  EXPECT_EQ(second["output_ids"], alone("own", "model"));
  const std::string talk = with({"--chat"}, "the river\n/reset\n/adapter b\nthe river\n");
  EXPECT_EQ(talk, first["completion"].get<std::string>() + "\n" + second["completion"].get<std::string>() + "\n");
  EXPECT_EQ(with({"--message", "the river"}), first["completion"].get<std::string>() + "\n");

  // A run with init_from uses it, and a named one takes precedence there too.
  const Outcome next = train("rows.jsonl", "messages", "next", {"--set", "adapter.init_from=chatml"});
  ASSERT_EQ(next.exit_code, 0) << next.err;
  EXPECT_EQ(read_text(scratch_ / "next/chat_template.jinja"), saved);
  const Outcome named_next =
      train("rows.jsonl", "messages", "n", {"--set", "adapter.init_from=chatml", "--set", "data.chat_template=model", "--dry-run"});
  EXPECT_THAT(named_next.out, Not(HasSubstr("<|im_start|>"))) << named_next.err;
}

TEST_F(Templates, AreSavedWithModels) {
  for (const char* file : {"original/tokenizer.model", "additional_chat_templates/rag.jinja", "checkpoint/tokenizer.json",
                           "checkpoint/config.json", "spiece.model"}) {
    fs::create_directories((scratch_ / "model" / file).parent_path());
    write_text(scratch_ / "model" / file, "own");
  }
  train_well("rows.jsonl", "messages", "chatml", {"--set", "data.chat_template=chatml"});
  train_well("rows.jsonl", "messages", "own");
  const std::string saved = read_text(scratch_ / "chatml/chat_template.jinja");
  const auto merge = [&](const std::string& output, const Arguments& more) {
    Arguments all{"--output", path(output)};
    all.insert(all.end(), more.begin(), more.end());
    const Outcome outcome = run("lora-merge", all);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.err;
  };
  merge("merged", {"--adapter", path("chatml"), "--verify", "--data", path("rows.jsonl"), "--format", "messages"});
  merge("merged", {"--adapter", path("chatml"), "--overwrite"});  // replaces a folder with sub-folders
  EXPECT_EQ(read_text(scratch_ / "merged/chat_template.jinja"), saved);
  EXPECT_EQ(Json::parse(read_text(scratch_ / "merged/tokenizer_config.json"))["chat_template"], saved);
  for (const char* file : {"original/tokenizer.model", "additional_chat_templates/rag.jinja", "spiece.model", "tokenizer.json"}) {
    EXPECT_EQ(read_text(scratch_ / "merged" / file), read_text(scratch_ / "model" / file)) << file;
  }
  EXPECT_FALSE(fs::exists(scratch_ / "merged/checkpoint"));
  EXPECT_FALSE(fs::exists(scratch_ / "merged/generation_config.json"));  // <|im_end|> is not a token here, so that turns end with text
  // A template whose turns end with a token that is not the model's EOS: other programs only stop at those in generation_config.json.
  write_text(scratch_ / "ends.jinja", std::string(kTemplate) + "{# another #}");
  train_well("rows.jsonl", "messages", "ends", {"--set", "data.chat_template=ends.jinja"});
  Json tokenizer_config = Json::parse(read_text(scratch_ / "model/tokenizer_config.json"));
  tokenizer_config["eos_token"] = "<|end_of_text|>";
  fs::copy(scratch_ / "model", scratch_ / "base", fs::copy_options::recursive);
  write_text(scratch_ / "base/tokenizer_config.json", tokenizer_config.dump());
  const Outcome ends = run_tool({"lora-merge", "--model", path("base"), "--adapter", path("ends"), "--output", path("ends-merged")});
  EXPECT_EQ(ends.exit_code, 0) << ends.err;
  EXPECT_EQ(Json::parse(read_text(scratch_ / "ends-merged/generation_config.json"))["eos_token_id"], (std::vector<int>{601, 602}));
  EXPECT_EQ(out(run_tool({"lora-generate", "--model", path("merged"), "--message", "a", "--max-new-tokens", "8"})),
            out(generate({"--adapter", path("chatml"), "--message", "a"})));

  // The model's own template stays in its files; if two adapters differ, neither template is saved.
  merge("plain", {"--adapter", path("own")});
  EXPECT_FALSE(fs::exists(scratch_ / "plain/chat_template.jinja"));
  EXPECT_EQ(read_text(scratch_ / "plain/tokenizer_config.json"), read_text(scratch_ / "model/tokenizer_config.json"));
  EXPECT_THAT(merge("two", {"--adapter", path("chatml"), "--adapter", path("own")}), HasSubstr("a different chat template"));
  EXPECT_EQ(read_text(scratch_ / "two/tokenizer_config.json"), read_text(scratch_ / "model/tokenizer_config.json"));

  // Combined adapters, and full fine-tuning.
  const Outcome combined = run_tool({"lora-merge", "--combine", "linear", "--adapter", path("chatml"), "--output", path("combined")});
  EXPECT_EQ(combined.exit_code, 0) << combined.err;
  EXPECT_EQ(read_text(scratch_ / "combined/chat_template.jinja"), saved);
  const Outcome resized = run_tool({"lora-convert", "--adapter", path("chatml"), "--resize", "2", "--output", path("resized")});
  EXPECT_EQ(resized.exit_code, 0) << resized.err;
  EXPECT_EQ(read_text(scratch_ / "resized/chat_template.jinja"), saved);
  train_well("rows.jsonl", "messages", "full", {"--set", "data.chat_template=chatml", "--set", "adapter=null"});
  EXPECT_EQ(read_text(scratch_ / "full/chat_template.jinja"), saved);
  EXPECT_EQ(Json::parse(read_text(scratch_ / "full/tokenizer_config.json"))["chat_template"], saved);
  EXPECT_EQ(read_text(scratch_ / "full/original/tokenizer.model"), "own");
}

// The ids and masks are those of transformers in scripts/golden/instruction_chat.py.
TEST_F(Templates, AreUsedForInstructionRowsIfNamed) {
  const Json golden = Json::parse(read_text(fs::path(lora::test::data_folder()) / "chat/instruction.json"));
  write_text(scratch_ / "own.jinja", golden["template"].get<std::string>());
  std::string rows;
  std::string tokens;
  for (const Json& row : golden["rows"]) {
    rows += row["row"].dump() + "\n";
    Json labels = Json::array();
    for (size_t i = 0; i < row["input_ids"].size(); ++i) {
      labels.push_back(row["mask"][i] == 1 ? row["input_ids"][i] : Json(-100));
    }
    tokens += Json{{"input_ids", row["input_ids"]}, {"labels", labels}}.dump() + "\n";
  }
  write_text(scratch_ / "instructions.jsonl", rows);
  write_text(scratch_ / "tokens.jsonl", tokens);
  train_well("instructions.jsonl", "instruction", "by-template", {"--set", "data.chat_template=own.jinja"});
  train_well("tokens.jsonl", "tokens", "by-ids");
  EXPECT_EQ(losses("by-template"), losses("by-ids"));
  EXPECT_EQ(losses("by-template").size(), 4U);
  const auto eval_of = [&](const std::string& data, const std::string& format, const Arguments& more = {}) {
    Arguments all{"--data", path(data), "--format", format, "--json", "--adapter", path("by-template")};
    all.insert(all.end(), more.begin(), more.end());
    const Outcome outcome = run("lora-eval", all);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return std::pair(outcome.exit_code == 0 ? Json::parse(outcome.out)["loss"] : Json(), outcome.err);
  };
  EXPECT_EQ(eval_of("instructions.jsonl", "instruction").first, eval_of("tokens.jsonl", "tokens").first);
  EXPECT_THAT(eval_of("instructions.jsonl", "instruction", {"--chat-template", "none"}).second, HasSubstr("the Alpaca prompt"));

  const Outcome made =
      run("lora-tokenize", {"--input", path("instructions.jsonl"), "--output", path("made.jsonl"), "--chat-template", path("by-template")});
  EXPECT_EQ(made.exit_code, 0) << made.err;
  const std::vector<Json> made_rows = read_rows(scratch_ / "made.jsonl");
  ASSERT_EQ(made_rows.size(), golden["rows"].size());
  for (size_t i = 0; i < made_rows.size(); ++i) {
    EXPECT_EQ(made_rows[i]["input_ids"], golden["rows"][i]["input_ids"]);
    EXPECT_EQ(made_rows[i]["mask"], golden["rows"][i]["mask"]);
  }

  // Without a name the rows use the Alpaca prompt, the summary says so, and no template is saved.
  const Outcome plain = train("instructions.jsonl", "instruction", "alpaca");
  ASSERT_EQ(plain.exit_code, 0) << plain.err;
  EXPECT_THAT(plain.err, AllOf(HasSubstr("use the Alpaca prompt; the model has its own chat template"), HasSubstr("--chat-template none")));
  EXPECT_FALSE(fs::exists(scratch_ / "alpaca/chat_template.jinja"));
  EXPECT_THAT(out(generate({"--adapter", path("alpaca"), "--chat-template", "none", "--message", "a"})), Not(testing::IsEmpty()));
  const Outcome model = train("instructions.jsonl", "instruction", "dry", {"--dry-run", "--set", "data.chat_template=model"});
  EXPECT_THAT(model.out, HasSubstr("<|start_header_id|>user\n")) << model.err;
}

TEST_F(Templates, UnusedKeysAndUnknownNamesAreRefused) {
  const auto expect_refused = [](const Outcome& outcome, const std::vector<std::string>& parts) {
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    for (const std::string& part : parts) {
      EXPECT_THAT(outcome.err, HasSubstr(part));
    }
  };
  const auto set = [](const std::string& value) { return Arguments{"--dry-run", "--set", value}; };
  expect_refused(train("text.jsonl", "text", "dry", set("data.chat_template=chatml")),
                 {"[data.chat_template]", "has no effect", "messages"});
  expect_refused(train("text.jsonl", "text", "dry", set("data.train_on=all")), {"[data.train_on]", "has no effect", "prompt_completion"});
  expect_refused(train("rows.jsonl", "tokens", "dry", set("data.append_eos=false")), {"[data.append_eos]", "has no effect"});
  expect_refused(train("rows.jsonl", "messages", "dry", set("data.chat_template=chatlm")), {"found 'chatlm'", "did you mean 'chatml'"});
  expect_refused(train("rows.jsonl", "messages", "dry", set("data.chat_template=runs")), {"found 'runs'", "a .jinja file"});
  expect_refused(run("lora-eval", {"--data", path("text.jsonl"), "--format", "text", "--chat-template", "chatml"}), {"[--chat-template]"});
  expect_refused(run("lora-eval", {"--data", path("text.jsonl"), "--format", "text", "--train-on", "all"}),
                 {"[--train-on]", "has no effect"});
  expect_refused(generate({"--chat", "--chat-template", "zephir"}, "a\n"), {"[--chat-template]", "did you mean 'zephyr'"});
  expect_refused(generate({"--prompt", "a", "--chat-template", "zephyr"}), {"[--chat-template]", "--message"});
  expect_refused(generate({"--prompt", "a", "--system", "b"}), {"[--system]", "--message"});
  write_text(scratch_ / "plain.jsonl", R"({"prompt": "a"})");
  expect_refused(generate({"--prompts", path("plain.jsonl"), "--chat-template", "zephyr"}), {"[--chat-template]", "messages"});
  fs::create_directories(scratch_ / "empty");
  expect_refused(train("rows.jsonl", "messages", "dry", set("data.chat_template=empty")), {"without a chat template"});
  write_text(scratch_ / "model/tokenizer_config.json", R"({"eos_token": "<|eot_id|>"})");
  expect_refused(train("rows.jsonl", "messages", "dry", set("data.chat_template=model")), {"\"model\"", "of its own"});
}

TEST_F(Templates, DocumentsOfTextFiles) {
  write_text(scratch_ / "book.txt", "\r\none two\r\nthree\n\n \nfour\nfive \n\n");
  const auto samples = [&](const std::string& documents) {
    const std::string entry = R"([{"path": "book.txt", "format": "text", "documents": ")" + documents + "\"}]";
    return train("x", "text", "dry", {"--dry-run", "--set", "data.train=" + entry});
  };
  const Outcome lines = samples("line");
  EXPECT_THAT(lines.out, AllOf(HasSubstr("one two<|eot_id|>"), HasSubstr("book.txt:6"), HasSubstr("three<|eot_id|>"))) << lines.err;
  EXPECT_THAT(lines.err, AllOf(HasSubstr("each line of a .txt file is a document, followed by EOS"), HasSubstr("the median line has")));
  const Outcome paragraphs = samples("paragraph");
  EXPECT_THAT(paragraphs.out, AllOf(HasSubstr("one two\nthree<|eot_id|>"), HasSubstr("book.txt:6"), HasSubstr("four\nfive <|eot_id|>")));
  EXPECT_THAT(paragraphs.err, AllOf(HasSubstr("each paragraph of a .txt file is a document"), Not(HasSubstr("the median line has"))));
  const Outcome file = samples("file");
  EXPECT_THAT(file.out, AllOf(HasSubstr("one two\nthree\n\n \nfour\nfive <|eot_id|>"), HasSubstr("book.txt:2"))) << file.err;
  const Outcome misplaced = train("rows.jsonl", "messages", "dry",
                                  {"--dry-run", "--set", R"(data.train=[{"path": "rows.jsonl", "format": "text", "documents": "file"}])"});
  EXPECT_EQ(misplaced.exit_code, 2);
  EXPECT_THAT(misplaced.err, AllOf(HasSubstr("data.train[0].documents"), HasSubstr("a .txt file")));

  const auto tokens = [&](const std::string& documents) {
    const Outcome outcome = run("lora-tokenize", {"--input", path("book.txt"), "--output", path("ids.jsonl"), "--documents", documents});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return read_rows(scratch_ / "ids.jsonl").size();
  };
  EXPECT_EQ(tokens("line"), 4U);
  EXPECT_EQ(tokens("paragraph"), 2U);
  EXPECT_EQ(tokens("file"), 1U);
  const Outcome scored = run("lora-eval", {"--data", path("book.txt"), "--format", "text", "--documents", "file", "--json"});
  ASSERT_EQ(scored.exit_code, 0) << scored.err;
  EXPECT_EQ(Json::parse(scored.out)["num_documents"], 1);
}

/// Gives tokens the embedding of another token, with a small change.
void copy_embedding(const fs::path& model, const std::vector<int64_t>& tokens, int64_t from, float step) {
  std::string file = read_text(model / "model.safetensors");
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  const Json entry = Json::parse(file.substr(sizeof(length), length))["model.embed_tokens.weight"];
  const size_t begin = sizeof(length) + length + entry["data_offsets"][0].get<size_t>();
  const size_t width = entry["shape"][1].get<size_t>();
  for (size_t n = 0; n < tokens.size(); ++n) {
    for (size_t i = 0; i < width; ++i) {
      float value = 0;
      std::memcpy(&value, file.data() + begin + (static_cast<size_t>(from) * width + i) * sizeof(float), sizeof(float));
      value += step * static_cast<float>((n * 7 + i * 3) % 5);
      std::memcpy(file.data() + begin + (static_cast<size_t>(tokens[n]) * width + i) * sizeof(float), &value, sizeof(float));
    }
  }
  write_text(model / "model.safetensors", file);
}

TEST_F(Templates, UntrainedTokensAreWarnedOf) {
  const auto warning = [&](const std::string& name, const Arguments& more = {}) {
    Arguments all{"--dry-run", "--set", "data.chat_template=" + name};
    all.insert(all.end(), more.begin(), more.end());
    const Outcome outcome = train("rows.jsonl", "messages", "dry", all);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.err;
  };
  // The tokenizer has <|eot_id|> and none of the others. Zephyr's roles are meant to be text: its turns end with EOS.
  EXPECT_THAT(warning("chatml"),
              AllOf(HasSubstr("lacks control tokens of built-in template chatml: <|im_end|>, <|im_start|>"), HasSubstr("zephyr")));
  EXPECT_THAT(warning("gemma"), HasSubstr("<end_of_turn>, <start_of_turn>"));
  EXPECT_THAT(warning("zephyr"), Not(HasSubstr("lacks control tokens")));
  EXPECT_THAT(warning("model"), AllOf(Not(HasSubstr("lacks control tokens")), Not(HasSubstr("never trained"))));

  // 603 to 639 are rows beyond the vocabulary; <|eot_id|> is 602.
  std::vector<int64_t> unused;
  for (int64_t id = 602; id < 640; ++id) {
    unused.push_back(id);
  }
  copy_embedding(scratch_ / "model", unused, 639, 0.01F);
  EXPECT_THAT(warning("model"), AllOf(HasSubstr("never trained on <|eot_id|> (602)"), HasSubstr("\"trainable_token_indices\": [602]")));
  EXPECT_THAT(warning("model", {"--set", "adapter.trainable_token_indices=[602]"}), Not(HasSubstr("never trained")));
  copy_embedding(scratch_ / "model", {602}, 17, 0.01F);  // it is no longer close to an unused token
  EXPECT_THAT(warning("model"), Not(HasSubstr("never trained")));
  copy_embedding(scratch_ / "model", {602}, 601, 0.0F);  // equals the row of another special token
  EXPECT_THAT(warning("model"), HasSubstr("never trained on <|eot_id|> (602)"));
}

TEST_F(Templates, EndsOfTurnAndSpecialTokensStop) {
  // A model whose EOS does not end turns: only the template uses <|eot_id|>, which is made the most likely token.
  write_text(scratch_ / "question.jsonl", R"({"messages": [{"role": "user", "content": "the river"}]})");
  const Outcome asked =
      run("lora-tokenize", {"--input", path("question.jsonl"), "--output", path("asked.jsonl"), "--add-generation-prompt"});
  ASSERT_EQ(asked.exit_code, 0) << asked.err;
  const Json ids = read_rows(scratch_ / "asked.jsonl")[0]["input_ids"];
  write_text(scratch_ / "model/tokenizer_config.json", Json{{"eos_token", "<|end_of_text|>"}, {"chat_template", kTemplate}}.dump());
  train_well("rows.jsonl", "messages", "tuned", {"--set", "training.max_steps=60", "--set", "training.learning_rate=3e-2"});
  const auto complete = [&](const std::string& prompts, const Arguments& more = {}) {
    write_text(scratch_ / "prompts.jsonl", prompts);
    Arguments all{"--adapter", path("tuned"), "--prompts", path("prompts.jsonl"), "--max-new-tokens", "40"};
    all.insert(all.end(), more.begin(), more.end());
    return Json::parse(out(generate(all)));
  };
  const Json row = complete(R"({"messages": [{"role": "user", "content": "the river"}]})");
  EXPECT_EQ(row["completion"], "is wide");
  EXPECT_EQ(row["finish_reason"], "eos");
  EXPECT_EQ(row["output_ids"].back(), 602);
  EXPECT_EQ(out(generate({"--adapter", path("tuned"), "--max-new-tokens", "40", "--chat"}, "the river\n")), "is wide\n");
  EXPECT_EQ(out(generate({"--adapter", path("tuned"), "--max-new-tokens", "40", "--message", "the river"})), "is wide\n");
  EXPECT_EQ(out(generate({"--adapter", path("tuned"), "--max-new-tokens", "40", "--message", "a", "--system", "short"})), "b c\n");

  // A prompt of ids is not a chat: it continues, unless --stop names the token, alone or within a text.
  const std::string same = Json{{"input_ids", ids}}.dump();
  EXPECT_EQ(complete(same)["finish_reason"], "length");
  const Json stopped = complete(same, {"--stop", "<|eot_id|>"});
  EXPECT_EQ(stopped["completion"], "is wide");
  EXPECT_EQ(stopped["finish_reason"], "stop");
  EXPECT_EQ(complete(same, {"--stop", "wide<|eot_id|>"})["completion"], "is ");
}

TEST_F(Templates, CtrlCEndsTheAnswerAndNotTheChat) {
  Process process({std::string(lora::test::program_folder()) + "/lora-generate", "--model", path("model"), "--device", "cpu",
                   "--max-new-tokens", "100000", "--chat"},
                  "the river\n/quit\n");
  for (int i = 0; i < 12000 && process.errors_so_far().find("max_position_embeddings") == std::string::npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // a minute at most, on a busy machine
  }
  process.signal(SIGINT);
  const Outcome outcome = process.wait();
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;  // the answer ended there, and /quit was read
  EXPECT_THAT(outcome.out, testing::EndsWith("\n"));
}

}  // namespace
}  // namespace lora::test

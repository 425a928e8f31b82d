// Runs of lora-train on images: results equal to diffusers' and PEFT's, resuming, splitting, what is shown, and errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cmath>
#include <cstring>

#include "lora/base/file.h"
#include "pipeline_case.h"
#include "process.h"
#include "support/paths.h"
#include "tensor_file.h"

namespace lora::test {
namespace {

using ::testing::HasSubstr;

void expect_reference_run(const std::string& family, const std::string& run) {
  const PipelineCase own(family);
  const Outcome outcome = own.train(run);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  expect_reference_steps(own, run);
  const std::map<std::string, StoredTensor> trained = stored_tensors(own / "out"), all = stored_tensors(own.scratch / family);
  size_t count = 0;
  for (const auto& [name, tensor] : all) {
    const std::string prefix = run + ".trained.";
    if (name.starts_with(prefix)) {
      ++count;
      std::string key = name.substr(prefix.size());
      if (const std::string end = "lora_magnitude_vector.weight"; key.ends_with(end)) {
        key.resize(key.size() - std::string(".weight").size());  // the name in PEFT's files
      }
      const auto found = trained.find(key);
      ASSERT_NE(found, trained.end()) << name;
      EXPECT_LE(largest_difference(found->second, tensor), 1e-5 * largest_value(tensor)) << family << " " << name;
    }
  }
  EXPECT_EQ(count, trained.size());
  const Json config = Json::parse(read_text(own / "out/adapter_config.json"));
  EXPECT_TRUE(config["task_type"].is_null());
  EXPECT_THAT(outcome.err, HasSubstr("lora-convert --adapter"));
}

TEST(Denoising, EqualsDiffusersAndPeftOnAttention) {
  for (const char* family : {"sd1", "sd2", "sdxl"}) {
    expect_reference_run(family, "attention");
  }
}

TEST(Denoising, EqualsDiffusersAndPeftWithFlowMatching) {
  expect_reference_run("sd3", "adapter");
  expect_reference_run("flux", "adapter");
  const PipelineCase own("sd3");
  const std::map<std::string, StoredTensor> expected = stored_tensors(own.scratch / "sd3");
  for (const auto& [scheme, precondition] : {std::pair("sigma_sqrt", false), std::pair("cosmap", true)}) {
    const std::string name = std::string("losses.") + scheme + (precondition ? ".1" : ".0"), out = (own / name).string();
    const Outcome outcome = own.train("adapter", {"--set", std::string("training.weighting_scheme=") + scheme, "--set",
                                                  std::string("training.precondition_outputs=") + (precondition ? "true" : "false"),
                                                  "--set", "training.max_steps=3", "--set", "output_dir=" + out});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const std::vector<float> losses = expected.at(name).values();
    const double mean = (losses[0] + losses[1] + losses[2] + losses[3]) / 4.0;
    EXPECT_NEAR(read_rows(fs::path(out) / "metrics.jsonl")[0]["loss"].get<double>(), mean, 1e-6 * mean) << name;
  }
  const auto refuses = [&own](const Arguments& more, const std::string& part) {
    const Outcome outcome = own.train("adapter", more);
    EXPECT_NE(outcome.exit_code, 0);
    EXPECT_THAT(outcome.err, HasSubstr(part));
  };
  refuses({"--set", "training.snr_gamma=5"}, "training.snr_gamma");
  refuses({"--set", "training.input_perturbation=0.1"}, "training.input_perturbation");
  refuses({"--set", "training.rescale_betas_zero_snr=true"}, "training.rescale_betas_zero_snr");
  refuses({"--set", "model.prediction_type=epsilon"}, "model.prediction_type");
  refuses({"--set", "training.guidance_scale=2"}, "training.guidance_scale");
}

TEST(Denoising, EqualsDiffusersAndPeftOnConvolutions) {
  for (const char* family : {"sd1", "sdxl"}) {
    expect_reference_run(family, "conv");
  }
}

/// The bound of bfloat16: losses within 3e-3 and gradient norms within 6e-2 of diffusers' own bfloat16 run, and of the float32 one.
/// diffusers' bfloat16 losses are up to 8e-4 from its float32 ones, ours up to 6e-4.
void expect_bfloat16_run(const std::string& family) {
  const PipelineCase own(family);
  const Outcome outcome = own.train("attention", {"--set", "model.dtype=bfloat16"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const std::vector<Json> rows = read_rows(own / "out/metrics.jsonl");
  bool rounds = false;
  for (const std::string file : {"expected_bfloat16.json", "expected_attention.json"}) {
    const Json steps = Json::parse(read_text(own / file))["steps"];
    ASSERT_EQ(rows.size(), steps.size());
    for (size_t i = 0; i < rows.size(); ++i) {
      for (const auto& [key, relative] : {std::pair("loss", 3e-3), std::pair("grad_norm", 6e-2)}) {
        const double found = rows[i][key].get<double>(), expected = steps[i][key].get<double>();
        EXPECT_NEAR(found, expected, relative * expected) << family << " " << file << ": " << key << " of step " << i + 1;
        rounds = rounds || std::abs(found - expected) > 1e-5 * expected;
      }
    }
  }
  EXPECT_TRUE(rounds) << "the run was not computed in bfloat16";
}

TEST(Denoising, InBfloat16StaysWithinItsBound) {
  for (const char* family : {"sd1", "sdxl"}) {
    expect_bfloat16_run(family);
  }
}

/// Draws everything that can be drawn: the rows lose their noise and timesteps.
const Arguments kDrawn{"--set", "training.save_steps=3",   "--set", "data.shuffle=true",      "--set", "adapter.lora_dropout=0.2",
                       "--set", "training.snr_gamma=5",    "--set", "training.max_steps=12",  "--set", "data.train.0.path=drawn.jsonl",
                       "--set", "training.eval_steps=6",   "--set", "data.eval_fraction=0.3", "--set", "training.noise_offset=0.1",
                       "--set", "training.eval_timesteps=4"};

TEST(Denoising, ResumesAfterAKillBitByBit) {
  const PipelineCase own("sdxl");
  write_rows_to_draw_for(own);
  ASSERT_EQ(own.train("attention", with(kDrawn, {"--set", "output_dir=whole"})).exit_code, 0);
  const Arguments parts = with(kDrawn, {"--set", "output_dir=parts"});
  {
    Process process(own.command("attention", parts));
    while (read_rows(own / "parts/metrics.jsonl").size() < 5) {
      usleep(2000);
    }
    process.signal(SIGKILL);
    process.wait();
  }
  const Outcome finished = own.train("attention", parts);
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_EQ(result_hash(own / "parts"), result_hash(own / "whole"));
  EXPECT_EQ(stable_rows(own / "parts"), stable_rows(own / "whole"));
  EXPECT_THAT(stable_rows(own / "whole"), testing::Contains(HasSubstr("eval_loss_quarter_4")));
}

TEST(Denoising, AccumulationChangesNothing) {
  const PipelineCase own("sd1");
  write_rows_to_draw_for(own);
  const Arguments shared =
      with(kDrawn, {"--set", "data.shuffle=false", "--set", "data.eval_fraction=0", "--set", "training.eval_steps=null"});
  const auto run = [&](const char* out, const char* size, const char* accumulated) {
    const Outcome outcome = own.train("attention", with(shared, {"--set", std::string("output_dir=") + out, "--set",
                                                                 std::string("training.per_device_train_batch_size=") + size, "--set",
                                                                 std::string("training.gradient_accumulation_steps=") + accumulated}));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  };
  run("one", "2", "1");
  run("two", "1", "2");
  const std::vector<Json> one = read_rows(own / "one/metrics.jsonl"), two = read_rows(own / "two/metrics.jsonl");
  ASSERT_EQ(one.size(), two.size());
  for (size_t i = 0; i < one.size(); ++i) {
    EXPECT_NEAR(one[i]["loss"].get<double>(), two[i]["loss"].get<double>(), 1e-6 * one[i]["loss"].get<double>()) << i;
  }
  const auto first = stored_tensors(own / "one"), second = stored_tensors(own / "two");
  for (const auto& [name, tensor] : first) {
    EXPECT_LE(largest_difference(tensor, second.at(name)), 1e-5) << name;
  }
}

TEST(Denoising, ADryRunShowsImagesAndModules) {
  const PipelineCase own("sdxl");
  const Outcome outcome = own.train("attention", {"--dry-run"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("train        10 images, latents 8x8 (6), 6x9 (4)"));
  EXPECT_THAT(outcome.err, HasSubstr("(2 images x 2 accumulated per step)"));
  EXPECT_THAT(outcome.out, HasSubstr("latents [4, 8, 8], text states [77, 32], pooled text [16], time ids [64.0,"));
  EXPECT_THAT(outcome.out, HasSubstr("transformer_blocks.*.attn1.to_q"));
}

TEST(Denoising, FaultsAreOneLineWithTheFile) {
  const PipelineCase own("sd1");
  const auto expect_fault = [&](int exit_code, const Arguments& more, const std::vector<std::string>& parts) {
    const Outcome outcome = own.train("attention", more);
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    for (const std::string& part : parts) {
      EXPECT_THAT(outcome.err, HasSubstr(part));
    }
  };
  expect_fault(2, {"--set", "training.objective=causal_lm"}, {"[data.train[0].format] found \"diffusion_tensors\""});
  expect_fault(4, {"--set", "training.objective=causal_lm", "--set", "data.train.0.format=tokens"},
               {"[model.path] is a text-to-image pipeline", "training.objective to \"denoising\""});
  expect_fault(4, {"--set", "model.path=rows"}, {"rows", "model_index.json"});
  expect_fault(2, {"--set", "training.noise_offset=0.1"}, {"[training.noise_offset] has no effect: the rows give the noise"});
  write_text(own / "wide.jsonl", "{\"file_name\": \"../sdxl/rows/0.safetensors\"}\n");
  fs::create_directories(own.scratch / "sdxl");
  fs::copy(kData / "diffusion/sdxl/rows", own.scratch / "sdxl/rows", fs::copy_options::recursive);
  expect_fault(3, {"--set", "data.train.0.path=wide.jsonl"}, {"wide.jsonl:1]", "do not fit the network"});
  // The part for a text encoder is never left out silently.
  fs::copy(own / "adapters/attention", own / "part");
  fs::rename(own / "part", own / "adapters/attention/text_encoder");
  expect_fault(2, {}, {"[adapter.init_from] changes text encoders too: found text_encoder in ", "adapters/attention"});
  const Outcome evaluated =
      run_tool({"lora-eval", "--model", (own / "model").string(), "--adapter", (own / "adapters/attention").string(), "--data",
                (own / "rows/rows.jsonl").string(), "--format", "diffusion_tensors"});
  EXPECT_EQ(evaluated.exit_code, 2);
  EXPECT_THAT(evaluated.err, HasSubstr("[--adapter] changes text encoders too: found text_encoder in "));
  fs::remove_all(own / "adapters/attention/text_encoder");
  write_text(own / "rows/3.safetensors", "damaged");
  expect_fault(3, {}, {"rows/3.safetensors"});
  fs::remove(own / "rows/3.safetensors");
  expect_fault(3, {}, {"rows/3.safetensors"});
}

/// Images of tests/data/image, and their names in a folder to train on.
constexpr std::pair<const char*, const char*> kDrawings[] = {
    {"baseline.jpg", "cat.jpg"}, {"interlaced.png", "dog.png"}, {"palette.png", "sun.png"}};

/// A folder of images with captions.
void write_drawings(const PipelineCase& own) {
  const fs::path images = kData / "image";
  fs::create_directories(own / "drawings");
  for (const auto& [from, to] : kDrawings) {
    fs::copy_file(images / from, own / ("drawings/" + std::string(to)));
    write_text((own / "drawings" / to).replace_extension(".txt"), "a drawing of " + std::string(to));
  }
}

TEST(Denoising, TrainsOnAFolderOfImages) {
  const PipelineCase own("sdxl");
  write_drawings(own);
  const Arguments shared{"--set", R"(data={"train": [{"path": "drawings", "format": "images"}], "resolution": 64, "random_flip": true,
                                           "caption_dropout": 0.2, "cache_dir": "cache", "eval_fraction": 0.3})",
                         "--set", "training.max_steps=4", "--set", "training.eval_steps=2"};
  const auto run = [&](const char* out) {
    const Outcome outcome = own.train("attention", with(shared, {"--set", std::string("output_dir=") + out}));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return stable_rows(own / out);
  };
  const std::vector<std::string> first = run("first");
  const std::vector<std::string> encoded = files_in(own / "cache");
  EXPECT_GE(encoded.size(), 3 * 2 + 3 + 1U) << "images, mirrored too, their captions and the empty one";
  fs::remove_all(own / "model/vae");  // nothing is encoded again
  EXPECT_NE(own.train("attention", with(shared, {"--set", "output_dir=none"})).exit_code, 0) << "its identity is not known";
  fs::copy(kData / "diffusion/sdxl/model/vae", own / "model/vae", fs::copy_options::recursive);
  EXPECT_EQ(run("second"), first);
  EXPECT_EQ(files_in(own / "cache"), encoded);
  EXPECT_EQ(result_hash(own / "second"), result_hash(own / "first"));
  write_text(own / "model/tokenizer/merges.txt", read_text(own / "model/tokenizer/merges.txt") + "\n");
  const Outcome changed = own.train("attention", with(shared, {"--set", "output_dir=second"}));  // another tokenizer is another run
  EXPECT_EQ(changed.exit_code, 6);
  EXPECT_THAT(changed.err, HasSubstr("VAE and text encoders"));
  const Outcome shown = own.train("attention", with(shared, {"--set", "output_dir=shown", "--dry-run"}));
  ASSERT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_THAT(shown.out, HasSubstr("a drawing of "));
  EXPECT_THAT(shown.out, HasSubstr("latents [4, 8, 8]"));
  write_text(own / "drawings/broken.png", "no image");
  write_text(own / "drawings/broken.txt", "nothing");
  const Outcome broken = own.train("attention", with(shared, {"--set", "output_dir=broken"}));
  EXPECT_EQ(broken.exit_code, 3);
  EXPECT_THAT(broken.err, HasSubstr("broken.png]"));
}

TEST(Denoising, AnEvaluationOfImagesEqualsThatOfTheRun) {
  const PipelineCase own("sd1");
  write_drawings(own);
  const Arguments evaluated{"--set", R"(data={"train": [{"path": "drawings", "format": "images"}], "resolution": 32, "cache_dir": "cache",
                                              "eval": [{"path": "drawings", "format": "images"}]})",
                            "--set", "training.max_steps=2"};
  ASSERT_EQ(own.train("attention", evaluated).exit_code, 0);
  const double expected = read_rows(own / "out/metrics.jsonl").back()["eval_loss"].get<double>();
  const Arguments command{"lora-eval", "--model", (own / "model").string(), "--adapter", (own / "out").string(), "--dtype", "float32",
                          "--device", "cpu", "--json", "--resolution", "32", "--data", (own / "drawings").string()};
  for (const Arguments& cache : {Arguments(), Arguments{"--cache-dir", (own / "cache").string()}}) {
    const Outcome outcome = run_tool(with(with(command, {"--format", "images"}), cache));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_NEAR(Json::parse(outcome.out)["loss"].get<double>(), expected, 1e-6);
  }
  const Outcome other = run_tool(with(command, {"--format", "diffusion_tensors"}));
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_THAT(other.err, HasSubstr("--resolution"));
}

TEST(Denoising, AnEvaluationEqualsThatOfTheRun) {
  const PipelineCase own("sd2");
  const Arguments evaluated{"--set", R"(data.eval=[{"path": "rows/rows.jsonl", "format": "diffusion_tensors"}])", "--set",
                            "training.max_steps=2"};
  ASSERT_EQ(own.train("attention", evaluated).exit_code, 0);
  const std::vector<Json> rows = read_rows(own / "out/metrics.jsonl");
  const Outcome outcome =
      run_tool({"lora-eval", "--model", (own / "model").string(), "--adapter", (own / "out").string(), "--data",
                (own / "rows/rows.jsonl").string(), "--format", "diffusion_tensors", "--dtype", "float32", "--device", "cpu", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json found = Json::parse(outcome.out);
  EXPECT_NEAR(found["loss"].get<double>(), rows.back()["eval_loss"].get<double>(), 1e-6);
  EXPECT_EQ(found["num_examples"], 10);
}

}  // namespace
}  // namespace lora::test

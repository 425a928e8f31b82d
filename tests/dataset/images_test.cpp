// Rows of tensors of images, the batches of one size that are made of them, and their copies and forms.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>

#include "data/image_batches.h"
#include "lora/data/batches.h"
#include "lora/data/dataset.h"
#include "lora/io/tensors.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora::data {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

struct ImageRows {
  SourceOptions source;
  DataOptions options;
  test::TemporaryFolder folder;

  ImageRows() { source.format = RowFormat::kDiffusionTensors; }

  void write(const std::string& name, const Tensors& tensors) const {
    std::vector<io::NamedTensor> named;
    for (const auto& [key, tensor] : tensors) {
      named.push_back({key, tensor});
    }
    io::save_tensors(folder / name, named);
  }
  Dataset load(const std::string& rows) {
    source.path = folder.write("rows.jsonl", rows);
    return load_dataset("data.train", {source}, options, {nullptr, 100});
  }
  /// Two rows: a good one, and one of these tensors.
  void expect_fault(const Tensors& tensors, const std::vector<std::string>& parts);
};

Tensors image(int64_t height = 4, int64_t width = 6, float value = 1) {
  return {{"latents", at::full({2, height, width}, value)}, {"encoder_hidden_states", at::full({3, 5}, -value)}};
}

Tensors with(Tensors tensors, const std::string& name, at::Tensor tensor) {
  tensors[name] = std::move(tensor);
  return tensors;
}

Tensors without(Tensors tensors, const std::string& name) {
  tensors.erase(name);
  return tensors;
}

void ImageRows::expect_fault(const Tensors& tensors, const std::vector<std::string>& parts) {
  write("good.safetensors", image());
  write("bad.safetensors", tensors);
  const std::string rows = "{\"file_name\": \"good.safetensors\"}\n{\"file_name\": \"bad.safetensors\"}\n";
  test::expect_error(ErrorKind::kData, parts, [&] { load(rows); });
}

constexpr const char* kTwoRows = R"({"file_name": "a.safetensors"}
{"file_name": "b.safetensors", "text": "a cat", "prior": true}
)";

TEST(ImageRows, BecomeOneBatch) {
  ImageRows setup;
  Tensors all = with(with(image(), "noise", at::full({2, 4, 6}, 3.0)), "timestep", at::tensor({7}, at::kLong));
  all = with(with(all, "pooled", at::ones({4})), "time_ids", at::arange(6, at::kFloat));
  setup.write("a.safetensors", all);
  for (auto& [name, tensor] : all) {
    tensor = name == "timestep" ? at::tensor(9, at::kInt) : (tensor * 2).to(at::kBFloat16);
  }
  setup.write("b.safetensors", all);
  const Dataset dataset = setup.load(kTwoRows);
  EXPECT_EQ(dataset.num_tokens(), 48);  // places of latents
  EXPECT_EQ(dataset.num_supervised(), 2);
  EXPECT_EQ(dataset.files.size(), 3U);
  EXPECT_FALSE(dataset.examples[0].image()->is_prior);
  EXPECT_TRUE(dataset.examples[1].image()->is_prior);
  EXPECT_EQ(*dataset.examples[1].image()->caption, "a cat");
  const nn::Batch batch = make_batch(dataset, {1, 0});
  EXPECT_EQ(batch.num_documents(), 2);
  EXPECT_EQ(batch.num_tokens(), 2);  // one position per image
  const nn::LatentImages& images = batch.images();
  const auto two = [](float value, at::IntArrayRef shape) { return at::stack({at::full(shape, 2 * value), at::full(shape, value)}); };
  EXPECT_TRUE(at::equal(images.latents_NCHW, two(1, {2, 4, 6})));
  EXPECT_TRUE(at::equal(images.noise_NCHW, two(3, {2, 4, 6})));
  EXPECT_TRUE(at::equal(images.timesteps_N, at::tensor({9, 7}, at::kLong)));
  EXPECT_TRUE(at::equal(images.condition.states_NSD, two(-1, {3, 5})));
  EXPECT_TRUE(at::equal(images.condition.pooled_NP, two(1, {4})));
  EXPECT_TRUE(at::equal(images.condition.time_ids_N6, at::stack({2 * at::arange(6, at::kFloat), at::arange(6, at::kFloat)})));
  EXPECT_FALSE(images.log_variance_NCHW.defined());
  const nn::Batch doubled = batch.with_tensors([](const at::Tensor& tensor) { return tensor * 2; });
  EXPECT_TRUE(at::equal(doubled.images().noise_NCHW, images.noise_NCHW * 2));
}

TEST(ImageRows, MayBePosteriors) {
  ImageRows setup;
  for (const char* name : {"a.safetensors", "b.safetensors"}) {
    setup.write(name, with(with(without(image(), "latents"), "mean", at::ones({2, 4, 6})), "log_variance", at::full({2, 4, 6}, -2.0)));
  }
  const nn::Batch batch = make_batch(setup.load(kTwoRows), {0, 1});
  EXPECT_TRUE(at::equal(batch.images().log_variance_NCHW, at::full({2, 2, 4, 6}, -2.F)));
  EXPECT_FALSE(batch.images().noise_NCHW.defined());
  EXPECT_FALSE(batch.images().timesteps_N.defined());
}

TEST(ImageRows, FaultsNameTheFile) {
  ImageRows setup;
  const Tensors good = image();
  setup.expect_fault(without(good, "latents"), {"bad.safetensors]", "latents is missing", "encoder_hidden_states"});
  setup.expect_fault(without(good, "encoder_hidden_states"), {"bad.safetensors]", "encoder_hidden_states is missing", "latents"});
  setup.expect_fault(with(good, "latents", at::ones({4, 6})), {"latents has another shape: found [4, 6], expected [channels, height"});
  setup.expect_fault(with(good, "latents", at::ones({2, 0, 6})), {"latents has another shape: found [2, 0, 6]"});
  setup.expect_fault(with(good, "latents", at::ones({2, 4, 6}, at::kInt)), {"latents has another dtype: found I32, expected F32"});
  setup.expect_fault(with(good, "noise", at::ones({2, 4, 5})), {"noise has another shape: found [2, 4, 5]", "[2, 4, 6]"});
  setup.expect_fault(with(good, "timestep", at::ones({1})), {"timestep is no timestep: found F32 [1], expected one integer"});
  setup.expect_fault(with(good, "timestep", at::tensor({-1}, at::kLong)), {"timestep is no timestep"});
  setup.expect_fault(with(good, "time_ids", at::ones({5})), {"time_ids has another shape: found [5], expected [6]"});
  setup.expect_fault(with(good, "latent", at::ones({2})), {"latent is not one of an image's: expected latents, mean"});
  setup.expect_fault(with(without(good, "latents"), "mean", at::ones({2, 4, 6})), {"log_variance is missing"});
  setup.expect_fault(with(good, "latents", at::ones({3, 4, 6})), {"rows.jsonl:2]", "the channels of its latents: found 3, expected 2"});
  setup.expect_fault(with(good, "encoder_hidden_states", at::ones({3, 4})), {"channels of its text states: found 4, expected 5"});
  setup.expect_fault(with(good, "pooled", at::ones({4})), {"pooled text: found 4, expected 0"});
  setup.expect_fault(with(good, "noise", at::ones({2, 4, 6})), {"its noise: found given, expected not given"});
  setup.folder.write("bad.safetensors", "no tensors");
  test::expect_error(ErrorKind::kData, {"bad.safetensors"}, [&] { setup.load("{\"file_name\": \"bad.safetensors\"}\n"); });
  test::expect_error(ErrorKind::kData, {"none.safetensors"}, [&] { setup.load("{\"file_name\": \"none.safetensors\"}\n"); });
  test::expect_error(ErrorKind::kData, {"\"file_name\" is missing"}, [&] { setup.load("{\"text\": \"a cat\"}\n"); });
  test::expect_error(ErrorKind::kData, {"rows.jsonl:1", "\"prior\"", "found an integer (1), expected true or false"},
                     [&] { setup.load("{\"file_name\": \"good.safetensors\", \"prior\": 1}\n"); });
}

TEST(ImageRows, AreReadAgainForEachBatch) {
  ImageRows setup;
  setup.write("a.safetensors", image());
  setup.write("b.safetensors", image());
  const Dataset dataset = setup.load(kTwoRows);
  setup.write("b.safetensors", with(image(), "latents", at::full({2, 4, 6}, NAN)));
  test::expect_error(ErrorKind::kData, {"b.safetensors]", "holds a value that is not finite"}, [&] { make_batch(dataset, {0, 1}); });
  setup.write("b.safetensors", image(6, 4));
  test::expect_error(ErrorKind::kData, {"b.safetensors]", "found [2, 6, 4], expected [2, 4, 6]"}, [&] { make_batch(dataset, {0, 1}); });
}

/// Images of these heights, which are not read.
Dataset images_of_heights(const std::vector<int64_t>& heights) {
  Dataset dataset;
  for (const int64_t height : heights) {
    ImageRow row;
    row.latents = {4, height, 8};
    row.states = {77, 16};
    dataset.examples.emplace_back(std::move(row));
  }
  return dataset;
}

TEST(ImageBatches, HaveOneSize) {
  const Dataset dataset = images_of_heights({8, 6, 8, 6, 6, 8, 8, 4});
  BatchOptions options;
  options.batch_size = 2;
  options.shuffle = false;
  const std::vector<std::vector<int64_t>> expected{{0, 2}, {1, 3}, {5, 6}, {4}, {7}};
  EXPECT_EQ(plan_epoch(dataset, options, 0), expected);
  options.shuffle = true;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<int64_t> all;
    for (const std::vector<int64_t>& batch : plan_epoch(dataset, options, epoch)) {
      for (const int64_t index : batch) {
        EXPECT_EQ(dataset.examples[index].image()->size(), dataset.examples[batch.front()].image()->size());
        all.push_back(index);
      }
    }
    std::sort(all.begin(), all.end());
    std::vector<int64_t> every(dataset.examples.size());
    std::iota(every.begin(), every.end(), 0);
    EXPECT_EQ(all, every);
  }
  EXPECT_NE(plan_epoch(dataset, options, 0), plan_epoch(dataset, options, 1));
}

/// An image in four forms: as likely as 6, 6, 2 and 2 sixteenths.
Dataset image_in_forms() {
  Dataset dataset = images_of_heights({8, 8, 8, 8, 8});
  const std::vector<double> weights{0.375, 0.375, 0.125, 0.125, 1};
  for (size_t i = 0; i < weights.size(); ++i) {
    dataset.examples[i].weight = weights[i];
    dataset.examples[i].is_form = dataset.examples[i].continues_row = i > 0 && i < 4;
  }
  return dataset;
}

TEST(ImageForms, AnImageOfTheSmallestWeightStays) {
  Dataset dataset = images_of_heights({8});
  dataset.examples[0].weight = 1e-12;
  EXPECT_EQ(with_copies(dataset.examples).size(), 1U);
}

TEST(ImageForms, OfARowAreUsedByTheirWeights) {
  const Dataset dataset = image_in_forms();
  constexpr int64_t kEpochs = 2000;
  std::vector<int64_t> uses(5);
  for (int64_t epoch = 0; epoch < kEpochs; ++epoch) {
    const auto plan = plan_epoch(dataset, {}, epoch);
    ASSERT_EQ(plan.size(), 1U);
    ASSERT_EQ(plan.front().size(), 2U) << "one form, and the other image";
    for (const int64_t index : plan.front()) {
      ++uses[static_cast<size_t>(index)];
    }
  }
  EXPECT_EQ(uses[4], kEpochs);
  EXPECT_NEAR(static_cast<double>(uses[0]) / kEpochs, 0.375, 0.05);
  EXPECT_NEAR(static_cast<double>(uses[3]) / kEpochs, 0.125, 0.05);
  EXPECT_EQ(plan_epoch(dataset, {}, 7), plan_epoch(dataset, {}, 7));
}

TEST(ImageForms, AreNotHeldOut) {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    Dataset dataset = image_in_forms();
    const Dataset held = split_off(dataset, 0.5, seed);
    ASSERT_EQ(held.examples.size(), 1U);
    EXPECT_FALSE(held.examples.front().is_form);
    EXPECT_EQ(held.examples.front().weight, 1);
    EXPECT_TRUE(dataset.examples.size() == 1 || dataset.examples.size() == 4);
  }
}

TEST(ImageRows, OfALargerWeightAreCopiesWithTheirOwnNoise) {
  ImageRows setup;
  setup.source.weight = 2.5;
  setup.write("a.safetensors", image());
  setup.write("b.safetensors", image());
  const Dataset dataset = setup.load(kTwoRows);
  std::vector<double> weights;
  std::vector<bool> continued;
  for (const Example& example : dataset.examples) {
    weights.push_back(example.weight);
    continued.push_back(example.continues_row);
  }
  EXPECT_THAT(weights, testing::ElementsAre(1, 1, 0.5, 1, 1, 0.5));
  EXPECT_THAT(continued, testing::ElementsAre(false, true, true, false, true, true));
}

}  // namespace
}  // namespace lora::data

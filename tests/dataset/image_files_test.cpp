// Rows and folders of images: which images with which captions, their sizes, and the cache of what encoders make of them.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "data/image_plan.h"
#include "lora/base/file.h"
#include "lora/base/json.h"
#include "lora/data/batches.h"
#include "lora/data/dataset.h"
#include "lora/image/decode.h"
#include "lora/image/encode_png.h"
#include "support/expect_error.h"
#include "support/paths.h"
#include "support/single_thread.h"
#include "support/temporary_folder.h"

namespace lora::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

/// An image in which every pixel differs from its neighbours.
std::string png(int64_t width, int64_t height, int shade = 0) {
  image::Image image{{width, height}, {}};
  for (int64_t i = 0; i < width * height; ++i) {
    for (int channel = 0; channel < 3; ++channel) {
      image.rgb.push_back(static_cast<uint8_t>(i * 7 + channel * 50 + shade));
    }
  }
  return image::encode_png(image);
}

/// A folder of images, and encoders that can be counted: "latents" are means of 8 x 8 pixels, states the caption's letters.
struct Images {
  test::TemporaryFolder folder;
  SourceOptions source;
  DataOptions options;
  ImageEncoders encoders;
  LoadContext context;
  int num_images = 0;
  int num_captions = 0;

  Images() {
    source.format = RowFormat::kImages;
    source.path = folder.path() / "set";
    encoders.encode_image = [this](const at::Tensor& pixels) {
      ++num_images;
      const at::Tensor mean = at::avg_pool2d(pixels.unsqueeze(0), 8).squeeze(0);
      return LatentMoments{mean, at::zeros_like(mean)};
    };
    encoders.encode_caption = [this](const std::string& caption) {
      ++num_captions;
      const at::Tensor states = at::zeros({4, 2});
      states[0][0] = static_cast<float>(caption.size());
      return CaptionStates{states, at::Tensor()};
    };
    encoders.image_identity = "vae";
    encoders.caption_identity = "clip";
    encoders.cache = folder.path() / "cache";
    encoders.resolution = {16, 16};
    context.num_threads = 3;
  }

  void write(const std::string& name, const std::string& content) const { folder.write("set/" + name, content); }
  Dataset load() {
    context.images = &encoders;
    return load_dataset("data.train", {source}, options, context);
  }
  std::vector<std::string> captions() {
    std::vector<std::string> all;
    for (const Example& example : load().examples) {
      all.push_back(*example.image()->caption);
    }
    return all;
  }
  std::string expect_fault(const std::vector<std::string>& parts) {
    return test::expect_error(ErrorKind::kData, parts, [this] { load(); });
  }
};

TEST(ImageSizes, AreThoseOfKohyasToolsAndDiffusers) {
  const Json expected = Json::parse(read_file(test::kData / "image_sizes.json", ErrorKind::kData));
  const auto size = [](const Json& row, size_t first) { return image::Size{row[first], row[first + 1]}; };
  ImageOptions options;
  options.buckets.enabled = true;
  for (const Json& one : expected.at("buckets")) {
    options.resolution = size(one.at("resolution"), 0);
    options.buckets = {true, one.at("step"), one.at("min"), one.at("max"), one.at("upscale")};
    std::vector<image::Size> buckets;
    for (const Json& bucket : one.at("buckets")) {
      buckets.push_back(size(bucket, 0));
    }
    EXPECT_EQ(bucket_sizes(*options.resolution, options.buckets), buckets);
    const ImagePlanner planner(options, {}, 8);
    EXPECT_GE(one.at("images").size(), 40U);
    for (const Json& row : one.at("images")) {
      const ImagePlan plan = planner.plan(size(row, 0), 0, "x");
      EXPECT_EQ(plan.resized, size(row, 2)) << row;
      EXPECT_EQ(plan.size, size(row, 4)) << row;
    }
  }
  const ImagePlanner planner({}, {512, 512}, 8);
  for (const Json& row : expected.at("resize_512")) {
    const ImagePlan expected_plan{size(row, 2), row[4], row[5], size(row, 6)};
    EXPECT_EQ(planner.plan(size(row, 0), 0, "x"), expected_plan) << row;
  }
}

TEST(ImageSizes, CropAtRandomWithinTheImageByTheKeyAlone) {
  ImageOptions options;
  options.center_crop = false;
  const ImagePlanner planner(options, {64, 32}, 8);
  std::set<int64_t> tops;
  for (uint64_t key = 0; key < 200; ++key) {
    const ImagePlan plan = planner.plan({64, 40}, key, "x");
    EXPECT_EQ(plan, planner.plan({64, 40}, key, "x"));
    EXPECT_EQ(plan.left, 0);
    tops.insert(plan.top);
  }
  EXPECT_THAT(tops, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8));
}

TEST(ImageSizes, MustSuitTheModelAndTheImages) {
  const auto refused = [](const ImageOptions& options, const std::string& key) {
    test::expect_error(ErrorKind::kConfig, {key}, [&] { ImagePlanner(options, {512, 512}, 8); });
  };
  ImageOptions options;
  options.resolution = image::Size{500, 512};
  refused(options, "[data.resolution] found 500, expected a multiple of 8");
  options.resolution = image::Size{32, 512};
  options.buckets.enabled = true;
  refused(options, "[data.buckets.step]");
  options = {};
  options.buckets = {true, 20, 256, 1024, true};
  refused(options, "[data.buckets.step] found 20");
  options.buckets = {true, 64, 256, 1024, false};
  const ImagePlanner planner(options, {512, 512}, 8);
  test::expect_error(ErrorKind::kData, {"[a.png]", "too small: found 50 x 400", "at least 64"},
                     [&] { planner.plan({50, 400}, 0, "a.png"); });
}

TEST(ImageFolder, TakesCaptionsBesideTheImages) {
  Images images;
  images.write("b.png", png(16, 16, 1));
  images.write("a.PNG", png(16, 16, 2));
  images.write("a.txt", " a cat,\n on a mat \n");
  images.write("b.caption", "a dog");
  images.write("notes.md", "not read");
  EXPECT_THAT(images.captions(), ElementsAre("a cat,  on a mat", "a dog"));
  const Dataset dataset = images.load();
  EXPECT_THAT(dataset.examples[0].origin.text(), testing::EndsWith("set/a.PNG"));
  EXPECT_EQ(dataset.files.size(), 4U);  // two images, two captions
  images.write("b.txt", "a wolf");
  images.expect_fault({"b.png]", "two captions: found b.txt and b.caption"});
}

TEST(ImageFolder, RepeatsTheFoldersOfKohyasTools) {
  Images images;
  images.write("3_red cat/x.png", png(16, 16, 1));
  images.write("1_dog/y.png", png(16, 16, 2));
  images.write("1_dog/y.txt", "a dog in the snow");
  images.write("ideas/z.bmp", "is not read");
  // An example for each use, so that each has noise of its own.
  EXPECT_THAT(images.captions(), ElementsAre("a dog in the snow", "red cat", "red cat", "red cat"));
  images.source.weight = 0.5;
  const Dataset dataset = images.load();
  ASSERT_EQ(dataset.examples.size(), 3U);
  EXPECT_EQ(std::pair(dataset.examples[0].weight, dataset.examples[2].weight), std::pair(0.5, 0.5));
  images.source.prior = true;
  EXPECT_TRUE(images.load().examples[0].image()->is_prior);
}

TEST(ImageFolder, ReadsItsMetadata) {
  Images images;
  images.write("a.png", png(16, 16, 1));
  images.write("unlisted.png", png(16, 16, 2));
  images.write("sub/b.png", png(16, 16, 3));
  images.write("metadata.jsonl",
               "{\"file_name\": \"a.png\", \"text\": \"one\"}\n"
               "{\"file_name\": \"sub/b.png\", \"text\": [\"two\", \"three\"], \"prior\": true}\n");
  EXPECT_THAT(images.captions(), ElementsAre("one", "two", "three"));
  const Dataset dataset = images.load();
  EXPECT_TRUE(dataset.examples[2].is_form);
  EXPECT_TRUE(dataset.examples[2].image()->is_prior);
  EXPECT_EQ(dataset.examples[1].weight, 0.5);
  images.write("metadata.csv", "file_name,text\na.png,four\n");
  images.expect_fault({"two files of metadata"});
}

TEST(ImageRowsFile, HasFieldsOfTheRightKind) {
  Images images;
  images.write("a.png", png(16, 16));
  images.source.path = images.folder.path() / "set" / "rows.csv";
  images.write("rows.csv", "file_name,text,weight,prior,artist\na.png,\"a, b\",2,true,x\n../set/a.png,c,0.25,,y\n");
  const Dataset dataset = images.load();
  ASSERT_EQ(dataset.examples.size(), 3U);
  EXPECT_EQ(*dataset.examples[0].image()->caption, "a, b");
  EXPECT_TRUE(dataset.examples[0].image()->is_prior);
  EXPECT_EQ(dataset.examples[2].weight, 0.25);
  EXPECT_THAT(dataset.report.unused_columns, ElementsAre(HasSubstr("rows.csv: artist")));
  EXPECT_EQ(images.num_images, 1);  // one file, however often it is named
  const auto refused = [&](const std::string& row, const std::string& part) {
    images.source.path = images.folder.path() / "set" / "rows.jsonl";
    images.write("rows.jsonl", "{\"file_name\": \"a.png\", \"text\": \"x\"}\n" + row);
    images.expect_fault({"rows.jsonl:2]", part});
  };
  refused(R"({"text": "x"})", "\"file_name\" is missing");
  refused(R"({"file_name": "none.png", "text": "x"})", "there is no such file: found \"none.png\"");
  refused(R"({"file_name": "", "text": "x"})", "there is no such file");
  refused(R"({"file_name": "a.png", "text": 3})", "expected a caption or a list of captions");
  refused(R"({"file_name": "a.png", "text": ["x", null]})", "expected a caption or a list of captions");
  refused(R"({"file_name": "a.png", "text": "x", "weight": 0})", "expected a number above 0");
  refused(R"({"file_name": "a.png", "text": "x", "prior": 1})", "expected true or false");
  refused(R"({"file_name": "a.png", "text": "x", "mask_file_name": "m.png"})", "cannot have this column");
}

TEST(ImageFolder, RefusesWhatItCannotTrainOn) {
  Images images;
  images.write("readme.txt", "no images");
  images.expect_fault({"set]", "has no images"});
  images.write("a.png", png(16, 16));
  images.expect_fault({"set/a.png]", "no caption", "data.missing_caption"});
  images.write("a.txt", " \n");
  images.expect_fault({"set/a.png]", "no caption"});
  images.options.images.missing_caption = MissingCaption::kEmpty;
  EXPECT_THAT(images.captions(), ElementsAre(""));
  images.options.images.missing_caption = MissingCaption::kSkip;
  images.expect_fault({"[data.train]", "no image is left"});
  images.write("b.png", png(16, 16));
  images.write("b.txt", "b");
  EXPECT_EQ(images.load().report.skipped, 1);
  images.write("c.gif", "GIF89a");
  images.expect_fault({"set/c.gif]", "expected JPEG, PNG or WebP"});
  fs::remove(images.folder.path() / "set" / "c.gif");
  images.write("c.txt", "c");
  images.write("c.png", png(16, 16).substr(0, 60));
  images.expect_fault({"set/c.png]", "truncated"});
  images.write("c.png", "GIF89a, with the name of another kind");
  images.expect_fault({"set/c.png]", "kind GIF"});
  images.context.images = nullptr;
  test::expect_error(ErrorKind::kConfig, {"text-to-image"}, [&] { load_dataset("data.train", {images.source}, images.options, {}); });
}

TEST(ImageForms, ShareTheUsesOfAnImage) {
  Images images;
  images.write("a.png", png(20, 16));
  images.write("a.txt", "cat");
  images.options.images.random_flip = true;
  images.options.images.caption_dropout = 0.25;
  images.encoders.takes_time_ids = true;
  const Dataset dataset = images.load();
  ASSERT_EQ(dataset.examples.size(), 4U);
  EXPECT_EQ(images.num_images, 2);
  EXPECT_EQ(images.num_captions, 2);
  for (const size_t i : {0U, 1U, 2U, 3U}) {
    const Example& example = dataset.examples[i];
    EXPECT_EQ(example.is_form, i > 0);
    EXPECT_EQ(*example.image()->caption, i % 2 == 0 ? "cat" : "");
    EXPECT_DOUBLE_EQ(example.weight, i % 2 == 0 ? 0.375 : 0.125);
    EXPECT_EQ(*example.image()->time_ids, (std::array<float, 6>{16, 20, 0, 2, 16, 16}));
    EXPECT_EQ(example.image()->latents, (std::array<int64_t, 3>{3, 2, 2}));
  }
  // What is encoded is the middle of the image, mirrored or not.
  const image::Image whole = image::decode(png(20, 16), "a.png", {}).image;
  const auto mean_of = [&whole](int64_t left) {
    double sum = 0;
    for (int64_t y = 0; y < 8; ++y) {
      for (int64_t x = 0; x < 8; ++x) {
        sum += whole.rgb[static_cast<size_t>((y * 20 + left + x) * 3)];
      }
    }
    return sum / 64 / 127.5 - 1;
  };
  const auto first_mean = [&](int64_t i) { return make_batch(dataset, {i}).images().latents_NCHW[0][0][0][0].item<double>(); };
  EXPECT_NEAR(first_mean(0), mean_of(2), 1e-5);
  double mirrored = 0;
  for (int64_t y = 0; y < 8; ++y) {
    for (int64_t x = 0; x < 8; ++x) {
      mirrored += whole.rgb[static_cast<size_t>((y * 20 + 17 - x) * 3)];
    }
  }
  EXPECT_NEAR(first_mean(2), mirrored / 64 / 127.5 - 1, 1e-5);
  images.context.one_form = true;
  images.source.weight = 3;  // weights only apply to training
  EXPECT_THAT(images.captions(), ElementsAre("cat"));
}

TEST(ImageForms, AreBatchedByTheSizeOfTheirBucket) {
  Images images;
  for (int i = 0; i < 6; ++i) {
    images.write("i" + std::to_string(i) + ".png", i % 2 == 0 ? png(40, 20, i) : png(20, 40, i));
    images.write("i" + std::to_string(i) + ".txt", "x");
  }
  images.options.images.buckets = {true, 8, 8, 64, true};
  const Dataset dataset = images.load();
  BatchOptions batches;
  batches.batch_size = 2;
  const auto plan = plan_epoch(dataset, batches, 0);
  EXPECT_EQ(plan.size(), 4U);
  for (const std::vector<int64_t>& batch : plan) {
    for (const int64_t index : batch) {
      const auto size = [&](int64_t of) { return dataset.examples[static_cast<size_t>(of)].image()->size(); };
      EXPECT_EQ(size(index), size(batch[0]));
    }
  }
}

TEST(ImageCache, IsKeyedByEverythingThatChangesAnEncodedImage) {
  Images images;
  images.write("a.png", png(40, 24));
  images.write("a.txt", "cat");
  const auto encoded = [&] {
    const int before = images.num_images * 100 + images.num_captions;
    images.load();
    return images.num_images * 100 + images.num_captions - before;
  };
  EXPECT_EQ(encoded(), 101);
  EXPECT_EQ(encoded(), 0);
  images.write("a.txt", "dog");
  EXPECT_EQ(encoded(), 1);
  images.write("a.png", png(40, 24, 1));
  EXPECT_EQ(encoded(), 100);
  images.encoders.image_identity = "other vae";
  EXPECT_EQ(encoded(), 100);
  images.encoders.caption_identity = "other clip";
  EXPECT_EQ(encoded(), 1);
  images.options.images.interpolation = image::Interpolation::kBicubic;
  EXPECT_EQ(encoded(), 100);
  images.options.images.resolution = image::Size{24, 16};
  EXPECT_EQ(encoded(), 100);
  images.options.images.background = "#010203";
  EXPECT_EQ(encoded(), 100);
  images.options.images.random_flip = true;
  EXPECT_EQ(encoded(), 100);  // the mirrored form
  EXPECT_EQ(encoded(), 0);
}

TEST(ImageCache, RepairsDamagedEntries) {
  Images images;
  images.write("a.png", png(40, 24));
  images.write("a.txt", "cat");
  const Dataset before = images.load();
  const std::string file = *before.examples[0].image()->image_file;
  const std::string text = *before.examples[0].image()->text_file;
  std::string bytes = read_file(file, ErrorKind::kData);
  const std::string good = bytes;
  bytes[bytes.size() - 3] ^= 1;
  write_file_atomically(file, bytes);
  write_file_atomically(text, "not safetensors");
  testing::internal::CaptureStderr();
  images.load();
  const std::string shown = testing::internal::GetCapturedStderr();
  EXPECT_THAT(shown, testing::AllOf(HasSubstr("cannot use what is cached"), HasSubstr("its content has changed")));
  EXPECT_EQ(images.num_images, 2);
  EXPECT_EQ(images.num_captions, 2);
  EXPECT_EQ(read_file(file, ErrorKind::kData), good);
}

TEST(ImageCache, HasNoHalfEntryAfterAKill) {
  Images images;
  for (int i = 0; i < 8; ++i) {
    images.write(std::to_string(i) + ".png", png(16, 16, i));
    images.write(std::to_string(i) + ".txt", "x");
  }
  const pid_t child = fork();
  if (child == 0) {
    auto encode = images.encoders.encode_image;
    images.encoders.encode_image = [&, encode](const at::Tensor& pixels) {
      if (images.num_images == 5) {
        kill(getpid(), SIGKILL);
      }
      return encode(pixels);
    };
    images.context.num_threads = 1;
    images.load();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  images.load();
  EXPECT_EQ(images.num_images, 3);  // the child has kept five
}

TEST(ImageEncodersResult, MustBeFinite) {
  Images images;
  images.write("a.png", png(16, 16));
  images.write("a.txt", "cat");
  images.encoders.encode_image = [](const at::Tensor&) { return LatentMoments{at::full({3, 2, 2}, NAN), at::zeros({3, 2, 2})}; };
  images.expect_fault({"set/a.png]", "not finite", "float16"});
}

}  // namespace
}  // namespace lora::data

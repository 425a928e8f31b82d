// Keys of the data section for rows of images.
#include <gmock/gmock.h>

#include "lora/config/run_config.h"
#include "sandbox.h"

namespace lora::config {
namespace {

using ::testing::HasSubstr;

Json run_on_images() {
  Json document = smallest();
  document["adapter"]["target_modules"] = {"to_q", "to_v"};
  document["data"]["train"][0] = {{"path", "photos"}, {"format", "images"}};
  document["training"]["objective"] = "denoising";
  return document;
}

TEST(ImageKeys, EveryValueArrives) {
  const Sandbox sandbox;
  Json document = run_on_images();
  const RunConfig plain = sandbox.load(document);
  EXPECT_EQ(plain.data.train[0].path, sandbox.folder() / "photos");
  EXPECT_FALSE(plain.data.images.resolution);
  EXPECT_TRUE(plain.data.images.center_crop);
  EXPECT_FALSE(plain.resolved["data"].contains("buckets"));
  document["data"]["train"][0]["prior"] = true;
  document["data"].update(Json::parse(R"({"resolution": [768, 512], "buckets": {"enabled": true, "step": 32, "min": 128, "max": 2048,
    "upscale": false}, "center_crop": false, "random_flip": true, "interpolation": "bicubic", "caption_dropout": 0.1,
    "missing_caption": "skip", "background": "#0080ff"})"));
  const RunConfig run = sandbox.load(document);
  const data::ImageOptions& own = run.data.images;
  EXPECT_TRUE(run.data.train[0].prior);
  EXPECT_EQ(own.resolution, (image::Size{768, 512}));
  EXPECT_TRUE(own.buckets.enabled);
  EXPECT_FALSE(own.buckets.upscale);
  EXPECT_EQ(own.buckets.step, 32);
  EXPECT_EQ(own.buckets.min, 128);
  EXPECT_EQ(own.buckets.max, 2048);
  EXPECT_FALSE(own.center_crop);
  EXPECT_TRUE(own.random_flip);
  EXPECT_EQ(own.interpolation, image::Interpolation::kBicubic);
  EXPECT_EQ(own.caption_dropout, 0.1);
  EXPECT_EQ(own.missing_caption, data::MissingCaption::kSkip);
  EXPECT_EQ(own.background, "#0080ff");
  EXPECT_EQ(sandbox.load(run.resolved).resolved, run.resolved);
  document["data"]["resolution"] = 640;
  EXPECT_EQ(sandbox.load(document).data.images.resolution, (image::Size{640, 640}));
}

TEST(ImageKeys, FindingsNameTheKey) {
  const Sandbox sandbox;
  const std::vector<std::pair<std::string, std::string>> cases{
      {"data.resolution=0", "[data.resolution] found 0, expected a side in pixels"},
      {"data.resolution=[512]", "[data.resolution] found [512], expected a side in pixels"},
      {"data.resolution=[512,512,3]", "[data.resolution] found [512,512,3]"},
      {"data.buckets.step=0", "[data.buckets.step] found 0"},
      {"data.buckets={\"min\":512,\"max\":256}", "[data.buckets.min] found 512 with max 256"},
      {"data.buckets.bucket_no_upscale=true", "[data.buckets.bucket_no_upscale]"},
      {"data.interpolation=nearest", "[data.interpolation] found \"nearest\", expected"},
      {"data.caption_dropout=1.5", "[data.caption_dropout] found 1.5"},
      {"data.missing_caption=ignore", "[data.missing_caption] found \"ignore\", expected"},
      {"data.background=blue", "[data.background] found \"blue\", expected white, black, gray or #rrggbb"}};
  for (const auto& [given, finding] : cases) {
    EXPECT_THAT(sandbox.findings(run_on_images(), {given}), testing::Contains(HasSubstr(finding))) << given;
  }
  Json texts = smallest();
  texts["data"]["resolution"] = 512;
  texts["data"]["train"][0]["prior"] = true;
  EXPECT_THAT(sandbox.findings(texts), testing::Contains(HasSubstr("[data.train[0].prior] found true with the format")));
  texts["data"]["train"][0].erase("prior");
  EXPECT_THAT(sandbox.findings(texts), testing::ElementsAre(HasSubstr("[data.resolution] has no effect on the rows of this run")));
}

}  // namespace
}  // namespace lora::config

#include "config/image_keys.h"

#include <algorithm>

#include "lora/image/decode.h"

namespace lora::config {

namespace {

using data::BucketOptions;
using data::DataOptions;
using data::RowFormat;
using data::SourceOptions;

constexpr int64_t kLongestSide = 65'535;

/// An integer, or a list of width and height.
Rule resolution_rule() {
  Rule pair = list_of(integer(1, kLongestSide), 2);
  pair.schema["maxItems"] = 2;
  Rule rule = nullable(any_of({integer(1, kLongestSide), pair}));
  rule.expected = "a side in pixels, such as 512, or a list of width and height, such as [768, 512]";
  return rule;
}

Field<DataOptions> resolution_field() {
  const Rule rule = resolution_rule();
  Field<DataOptions> field{"resolution",
                           "Images: size at which they are trained, as the side of a square or [width, height]; with buckets its area "
                           "counts; null: the model's.",
                           rule.schema, nullptr, nullptr};
  field.read = [rule](const Json& value, DataOptions& options, const ConfigPlace& at) {
    if (!accept(rule, value, at) || value.is_null()) {
      return;
    }
    const auto side = [&value](size_t i) { return value.is_array() ? value[i].get<int64_t>() : value.get<int64_t>(); };
    options.images.resolution = image::Size{side(0), side(1)};
  };
  field.show = [](const DataOptions& options) {
    const auto& size = options.images.resolution;
    return !size ? Json(nullptr) : size->width == size->height ? Json(size->width) : Json({size->width, size->height});
  };
  field.only_where_given = true;
  field.example = Json::array({768, 512});
  return field;
}

const Table<BucketOptions>& bucket_table() {
  static const Table<BucketOptions> kTable = [] {
    Table<BucketOptions> table;
    table
        .value(
            "enabled", [](auto& o) -> auto& { return o.enabled; }, boolean(),
            "Train each image at the size of the nearest aspect ratio, instead of cropping all to one size.")
        .value(
            "step", [](auto& o) -> auto& { return o.step; }, integer(8, 1024), "Sides of buckets are multiples of this.")
        .value(
            "min", [](auto& o) -> auto& { return o.min; }, integer(8, kLongestSide), "Smallest side of a bucket.")
        .value(
            "max", [](auto& o) -> auto& { return o.max; }, integer(8, kLongestSide), "Largest side of a bucket (SDXL: 2048).")
        .value(
            "upscale", [](auto& o) -> auto& { return o.upscale; }, boolean(),
            "Enlarge images that are smaller than their bucket; false: they keep their size, less what exceeds multiples of step.");
    return table;
  }();
  return kTable;
}

Field<DataOptions> buckets_field() {
  Field<DataOptions> field{"buckets", "Images: sizes of different aspect ratios and similar area, by the rule of kohya's tools.",
                           bucket_table().schema(), bucket_table().resolved(BucketOptions{}, Json::object()), nullptr};
  field.read = [](const Json& value, DataOptions& options, const ConfigPlace& at) {
    bucket_table().read(value, options.images.buckets, at);
    const BucketOptions& buckets = options.images.buckets;
    if (buckets.min > buckets.max && at.sound({"min", "max"})) {
      at.key("min").add("found " + std::to_string(buckets.min) + " with max " + std::to_string(buckets.max) +
                        ", expected a number that is not larger");
    }
  };
  field.show = [](const DataOptions& options) { return bucket_table().resolved(options.images.buckets, Json::object()); };
  field.only_where_given = true;
  field.example = Json{{"enabled", true}, {"max", 1024}};
  return field;
}

void add_sizes(Table<DataOptions>& table) {
  table.custom(resolution_field())
      .custom(buckets_field())
      .value(
          "center_crop", [](auto& o) -> auto& { return o.images.center_crop; }, boolean(),
          "Images: crop at the centre; false: at a random place, which is always the same for the same file (default: true).")
      .only_where_given()
      .example(false)
      .value(
          "random_flip", [](auto& o) -> auto& { return o.images.random_flip; }, boolean(),
          "Images: mirror half of the uses of each image (default: false).")
      .only_where_given()
      .example(true)
      .choice(
          "interpolation", [](auto& o) -> auto& { return o.images.interpolation; }, image::kInterpolations,
          "Images: filter of resizing (default: lanczos).")
      .only_where_given()
      .example("bicubic");
}

void add_captions(Table<DataOptions>& table) {
  table
      .value(
          "caption_dropout", [](auto& o) -> auto& { return o.images.caption_dropout; }, number({.from = 0, .to = 1}),
          "Images: share of uses with an empty caption (default: 0).")
      .only_where_given()
      .example(0.1)
      .choice(
          "missing_caption", [](auto& o) -> auto& { return o.images.missing_caption; }, data::kMissingCaptions,
          "Images: what to do with an image without a caption: stop with an error, use an empty caption, or skip it (default: error).")
      .only_where_given()
      .example("empty")
      .value(
          "background", [](auto& o) -> auto& { return o.images.background; }, text(),
          "Background colour for transparent pixels of images: white, black, gray or #rrggbb (default: white).")
      .only_where_given()
      .example("#808080");
}

bool has_images(const DataOptions& options) {
  const auto is_it = [](const SourceOptions& source) { return source.format == RowFormat::kImages; };
  return std::any_of(options.train.begin(), options.train.end(), is_it) || std::any_of(options.eval.begin(), options.eval.end(), is_it);
}

}  // namespace

void add_image_keys(Table<DataOptions>& table) {
  add_sizes(table);
  add_captions(table);
}

void check_images(const Json& section, const DataOptions& options, const ConfigPlace& at) {
  if (!image::color_of(options.images.background) && at.sound({"background"})) {
    at.key("background").add("found " + shown(Json(options.images.background)) + ", expected white, black, gray or #rrggbb");
  }
  if (has_images(options) || !section.is_object() || !at.sound({"train", "eval"})) {
    return;
  }
  static const std::vector<std::string> kKeys = [] {
    Table<DataOptions> table;
    add_image_keys(table);
    return table.keys();
  }();
  for (const std::string& key : kKeys) {
    if (section.contains(key) && at.sound({key})) {
      at.key(key).add("has no effect on the rows of this run: expected a source of the format images, or the key removed");
    }
  }
}

}  // namespace lora::config

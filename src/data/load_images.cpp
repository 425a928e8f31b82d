// H, W: sides of an image.
#include "data/load_images.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <deque>
#include <future>
#include <map>
#include <optional>
#include <set>

#include "data/image_batches.h"
#include "data/image_cache.h"
#include "data/image_plan.h"
#include "data/image_rows.h"
#include "data/image_tensors.h"
#include "data/paths.h"
#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/input_file.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/base/random.h"
#include "lora/base/text.h"
#include "lora/image/decode.h"

namespace lora::data {
namespace {

constexpr int kLatentsVersion = 1;  // increase it when the same files give other pixels
constexpr size_t kMostWarnings = 5;

/// Computes `work(i)` for every i below `count` in several threads, and gives the results to `take(i, result)` in order in this one.
template <typename Work, typename Take>
void in_order(size_t count, size_t num_threads, const Work& work, const Take& take) {
  std::deque<std::future<decltype(work(count))>> running;
  size_t next = 0;
  for (size_t i = 0; i < count; ++i) {
    for (; next < count && running.size() < num_threads; ++next) {
      running.push_back(std::async(std::launch::async, [&work, next] { return work(next); }));
    }
    throw_if_interrupted();
    auto result = running.front().get();
    running.pop_front();
    take(i, std::move(result));
  }
}

/// What a file's bytes say.
struct Inspected {
  std::string sha256;
  image::Size size;
};

/// An image as it is encoded: a file, and what is done with its pixels.
struct Encoding {
  std::string key;
  const ImageRecord* record;
  ImagePlan plan;
  bool is_flipped = false;
};

struct Prepared {
  bool is_cached = true;
  at::Tensor pixels;  ///< [3, H, W]
  std::vector<std::string> warnings;
  bool has_alpha = false;
};

/// RGB as float32 [3, H, W] from -1 to 1, as the training scripts of diffusers compute it.
at::Tensor pixels_of(const image::Image& image) {
  const at::Tensor bytes = at::empty({image.size.height, image.size.width, 3}, at::kByte);
  std::copy(image.rgb.begin(), image.rgb.end(), bytes.data_ptr<uint8_t>());
  return bytes.permute({2, 0, 1}).to(at::kFloat).contiguous().div_(255).sub_(0.5).div_(0.5);
}

std::string caption_key(const ImageEncoders& encoders, const std::string& caption) {
  return sha256("caption\n" + encoders.caption_identity + "\n" + caption);
}

/// Makes the examples of one set.
class ImageLoader {
 public:
  ImageLoader(const std::string& name, const ImageOptions& options, const LoadContext& context)
      : name_(name),
        options_(options),
        encoders_(*context.images),
        one_form_(context.one_form),
        num_threads_(static_cast<size_t>(context.num_threads > 0 ? context.num_threads : at::get_num_threads())),
        planner_(options, encoders_.resolution, encoders_.side_multiple),
        latents_(encoders_.cache / "latents"),
        captions_(encoders_.cache / "captions") {
    const std::optional<image::Color> color = image::color_of(options.background);
    if (!color) {
      config_error("data.background", "found \"" + printable(options.background) + "\", expected white, black, gray or #rrggbb");
    }
    decode_.background = *color;
  }

  Dataset load(ImageRecords records) {
    make_writable_folder(encoders_.cache / "latents");
    make_writable_folder(encoders_.cache / "captions");
    Dataset dataset;
    dataset.report.rows = static_cast<int64_t>(records.all.size());
    dataset.report.unused_columns = std::move(records.unused_columns);
    settle_captions(records.all, dataset.report);
    inspect(records.all, records.files);
    dataset.files = std::move(records.files);
    encode_images();
    encode_captions(records.all);
    for (size_t i = 0; i < records.all.size(); ++i) {
      add_forms(records.all[i], i, dataset);
    }
    if (!one_form_) {
      dataset.examples = with_copies(std::move(dataset.examples));
    }
    report_sizes();
    return dataset;
  }

 private:
  /// Applies missing_caption.
  void settle_captions(std::vector<ImageRecord>& records, DataReport& report) const {
    for (ImageRecord& record : records) {
      if (record.captions.empty() && options_.missing_caption == MissingCaption::kError) {
        data_error(record.file, "the image has no caption: expected " +
                                    (record.origin.line > 0 ? "a text in the row " + record.origin.text()
                                                            : std::string("a .txt file of the same name next to it, with a text in it")) +
                                    ". Write one, or set data.missing_caption to \"empty\" or \"skip\".");
      }
      if (record.captions.empty() && options_.missing_caption == MissingCaption::kEmpty) {
        record.captions.emplace_back();
      }
    }
    const auto removed = std::remove_if(records.begin(), records.end(), [](const ImageRecord& r) { return r.captions.empty(); });
    report.skipped = records.end() - removed;
    records.erase(removed, records.end());
    if (report.skipped > 0) {
      log::warn("[" + name_ + "] images that are skipped as they have no caption: " + with_thousands(report.skipped) +
                " (data.missing_caption)");
    }
    if (records.empty()) {
      data_error(name_, "no image is left: read " + counted(report.rows, "image") + ", of which " + std::to_string(report.skipped) +
                            " are skipped without a caption. Check data's paths and limits.");
    }
  }

  /// Reads every file once: its hash, its size, and how it is encoded.
  void inspect(const std::vector<ImageRecord>& records, std::vector<SourceFile>& files) {
    const auto look = [&](size_t i) {
      const std::string bytes = bytes_of(records[i].file);
      return Inspected{sha256(bytes), image::size_of(bytes, records[i].file, decode_.limits)};
    };
    in_order(records.size(), num_threads_, look, [&](size_t i, Inspected found) {
      const ImagePlan plan = planner_.plan(found.size, hash_name(found.sha256), records[i].file);
      originals_.push_back(found.size);
      num_enlarged_ += plan.resized.width > found.size.width ? 1 : 0;
      ++num_of_size_[{plan.size.width, plan.size.height}];
      for (const bool is_flipped : flips()) {
        encodings_.push_back({latents_key(found.sha256, plan, is_flipped), &records[i], plan, is_flipped});
      }
      files.push_back({records[i].file, std::move(found.sha256)});
    });
  }

  std::vector<bool> flips() const { return options_.random_flip && !one_form_ ? std::vector{false, true} : std::vector{false}; }

  std::string bytes_of(const std::string& file) const {
    return read_file(file, ErrorKind::kData, InputLimits{decode_.limits.bytes, false});
  }

  std::string latents_key(const std::string& sha256_of_image, const ImagePlan& plan, bool is_flipped) const {
    const Json key{{"version", kLatentsVersion},
                   {"image", sha256_of_image},
                   {"encoder", encoders_.image_identity},
                   {"resized", {plan.resized.width, plan.resized.height}},
                   {"crop", {plan.left, plan.top, plan.size.width, plan.size.height}},
                   {"flipped", is_flipped},
                   {"interpolation", image::kInterpolations.name(options_.interpolation)},
                   {"background", {decode_.background->red, decode_.background->green, decode_.background->blue}}};
    return sha256(key.dump());
  }

  Prepared prepare(const Encoding& encoding) const {
    if (latents_.holds(encoding.key)) {
      return {};
    }
    const std::string& file = encoding.record->file;
    image::Decoded decoded = image::decode(bytes_of(file), file, decode_);
    image::Image resized = image::resize(decoded.image, encoding.plan.resized, options_.interpolation);
    if (encoding.is_flipped) {
      resized = image::flip(resized);
    }
    const ImagePlan& plan = encoding.plan;
    return {false, pixels_of(image::crop(resized, plan.left, plan.top, plan.size)), std::move(decoded.warnings), decoded.has_alpha};
  }

  void encode_images() {
    std::map<std::string, const Encoding*> distinct;
    std::vector<const Encoding*> all;
    for (const Encoding& encoding : encodings_) {
      if (distinct.emplace(encoding.key, &encoding).second) {
        all.push_back(&encoding);
      }
    }
    size_t num_encoded = 0;
    in_order(all.size(), num_threads_, [&](size_t i) { return prepare(*all[i]); }, [&](size_t i, Prepared prepared) {
      if (!prepared.is_cached) {
        save_latents(*all[i], prepared);
        ++num_encoded;
        log::progress(name_ + ": encoding images, " + std::to_string(i + 1) + " of " + std::to_string(all.size()));
      }
    });
    log::end_progress();
    warn_of_files();
    log::info(name_ + ": " + counted(static_cast<int64_t>(num_encoded), "image") + " encoded, " +
              std::to_string(all.size() - num_encoded) + " found in " + encoders_.cache.string());
  }

  void save_latents(const Encoding& encoding, const Prepared& prepared) {
    if (!encoding.is_flipped) {
      for (const std::string& warning : prepared.warnings) {
        warnings_.push_back("[" + encoding.record->file + "] " + warning);
      }
      if (prepared.has_alpha) {
        first_alpha_ = num_alpha_++ == 0 ? encoding.record->file : first_alpha_;
      }
    }
    const LatentMoments moments = encoders_.encode_image(prepared.pixels);
    if (!at::isfinite(moments.mean).all().item<bool>() || !at::isfinite(moments.log_variance).all().item<bool>()) {
      data_error(encoding.record->file, "the VAE gives values that are not finite for this image. Likely cause: it computes in float16, "
                                        "which overflows in SDXL's VAE. Use float32 or bfloat16.");
    }
    latents_.save(encoding.key, {{"mean", moments.mean}, {"log_variance", moments.log_variance}});
  }

  void warn_of_files() const {
    for (size_t i = 0; i < std::min(kMostWarnings, warnings_.size()); ++i) {
      log::warn(warnings_[i]);
    }
    if (warnings_.size() > kMostWarnings) {
      log::warn("[" + name_ + "] more warnings of this kind: " + std::to_string(warnings_.size() - kMostWarnings));
    }
    if (num_alpha_ > 0) {
      log::warn("[" + name_ + "] images that can be transparent, through which data.background (\"" + options_.background +
                "\") shows: " + with_thousands(num_alpha_) + ", first " + first_alpha_);
    }
  }

  /// The captions of a record, each with its share of the record's uses.
  std::vector<std::pair<std::string, double>> shares(const ImageRecord& record) const {
    if (one_form_) {
      return {{record.captions.front(), 1.0}};
    }
    std::vector<std::pair<std::string, double>> all;
    const double kept = 1 - options_.caption_dropout;
    for (const std::string& caption : record.captions) {
      if (kept > 0) {
        all.emplace_back(caption, kept / static_cast<double>(record.captions.size()));
      }
    }
    if (options_.caption_dropout > 0) {
      all.emplace_back("", options_.caption_dropout);
    }
    return all;
  }

  void encode_captions(const std::vector<ImageRecord>& records) const {
    size_t done = 0;
    std::set<std::string> known;  // the cache reads a whole file to tell whether it holds it
    for (const ImageRecord& record : records) {
      throw_if_interrupted();
      ++done;
      for (const auto& [caption, share] : shares(record)) {
        const std::string key = caption_key(encoders_, caption);
        if (!known.insert(key).second || captions_.holds(key)) {
          continue;
        }
        const CaptionStates states = encoders_.encode_caption(caption);
        std::vector<std::pair<std::string, at::Tensor>> tensors{{"encoder_hidden_states", states.states}};
        if (states.pooled.defined()) {
          tensors.emplace_back("pooled", states.pooled);
        }
        captions_.save(key, tensors);
        log::progress(name_ + ": encoding captions, " + std::to_string(done) + " of " + std::to_string(records.size()));
      }
    }
    log::end_progress();
  }

  void add_forms(const ImageRecord& record, size_t index, Dataset& dataset) const {
    const size_t num_flips = flips().size();
    bool is_form = false;
    for (size_t flip = 0; flip < num_flips; ++flip) {
      const Encoding& encoding = encodings_[index * num_flips + flip];
      for (const auto& [caption, share] : shares(record)) {
        Example example(read_image_row(latents_.file(encoding.key), captions_.file(caption_key(encoders_, caption))));
        auto& row = std::get<ImageRow>(example.content);
        row.is_prior = record.is_prior;
        row.caption = std::make_shared<const std::string>(caption);
        row.time_ids = encoders_.takes_time_ids ? std::optional(time_ids(originals_[index], encoding.plan)) : std::nullopt;
        example.origin = record.origin;
        example.weight = record.weight * share / static_cast<double>(num_flips);
        example.is_form = std::exchange(is_form, true);
        dataset.examples.push_back(std::move(example));
      }
    }
  }

  /// As diffusers' script for SDXL: the crop lies in the resized image, which has been mirrored before.
  static std::array<float, 6> time_ids(image::Size original, const ImagePlan& plan) {
    const auto number = [](int64_t value) { return static_cast<float>(value); };
    return {number(original.height), number(original.width),   number(plan.top),
            number(plan.left),       number(plan.size.height), number(plan.size.width)};
  }

  void report_sizes() const {
    std::vector<std::string> sizes;
    for (const auto& [size, count] : num_of_size_) {
      sizes.push_back(image::Size{size.first, size.second}.text() + ": " + std::to_string(count));
    }
    log::info(name_ + ": images by size, " + join(sizes, ", ", 12));
    if (num_enlarged_ > 0) {
      log::warn("[" + name_ + "] images that are smaller than they are trained at, and are enlarged: " + with_thousands(num_enlarged_));
    }
  }

  const std::string& name_;
  const ImageOptions& options_;
  const ImageEncoders& encoders_;
  bool one_form_;
  size_t num_threads_;
  ImagePlanner planner_;
  ImageCache latents_;
  ImageCache captions_;
  image::DecodeOptions decode_;
  std::vector<image::Size> originals_;  // of each record
  std::vector<Encoding> encodings_;     // of each record, one or two
  std::map<std::pair<int64_t, int64_t>, int64_t> num_of_size_;
  int64_t num_enlarged_ = 0;
  int64_t num_alpha_ = 0;
  std::string first_alpha_;
  std::vector<std::string> warnings_;
};

}  // namespace

bool has_image_files(const std::vector<SourceOptions>& sources) {
  return std::any_of(sources.begin(), sources.end(), [](const SourceOptions& source) { return source.format == RowFormat::kImages; });
}

Dataset load_images(const std::string& name, const std::vector<SourceOptions>& sources, const DataOptions& options,
                    const LoadContext& context) {
  if (context.images == nullptr) {
    config_error(name, "found the format images, whose rows only a text-to-image model can take: expected a pipeline as model.path, and "
                       "training.objective \"denoising\"");
  }
  return ImageLoader(name, options.images, context).load(read_image_sources(name, sources));
}

}  // namespace lora::data

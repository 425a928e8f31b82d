// N images, C channels, H height, W width of the latents, S positions and D channels of the text states, P channels of the pooled text.
#include "data/image_tensors.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "data/image_rows.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/interrupt.h"
#include "lora/base/text.h"
#include "lora/io/tensor_facts.h"
#include "lora/io/tensors.h"

namespace lora::data {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLatents = "latents";
constexpr const char* kMean = "mean";
constexpr const char* kLogVariance = "log_variance";
constexpr const char* kNoise = "noise";
constexpr const char* kTimestep = "timestep";
constexpr const char* kStates = "encoder_hidden_states";
constexpr const char* kPooled = "pooled";
constexpr const char* kTimeIds = "time_ids";
constexpr const char* kNames[] = {kLatents, kMean, kLogVariance, kNoise, kTimestep, kStates, kPooled, kTimeIds};

/// One of an image's files. Every error names it.
class TensorFile {
 public:
  explicit TensorFile(const fs::path& path) : path_(path), file_(open(path)) {}

  bool has(const std::string& name) const { return file_.contains(name); }
  std::vector<std::string> names() const { return file_.names(); }

  /// The shape of a tensor of plain numbers, which has as many dimensions as `dimensions` says in words ("[C, H, W]").
  std::vector<int64_t> shape(const std::string& name, size_t count, const std::string& dimensions) const {
    const std::vector<int64_t> shape = tensor(name).sizes().vec();
    if (shape.size() != count || std::find(shape.begin(), shape.end(), 0) != shape.end()) {
      fail(name, "has another shape: found " + io::shape_text(shape) + ", expected " + dimensions);
    }
    return shape;
  }

  at::Tensor tensor(const std::string& name) const {
    if (!has(name)) {
      fail(name, "is missing: found " + join(names(), ", ", 8));
    }
    return guarded([&] { return file_.tensor(name); });
  }

  /// Plain numbers of this shape as float32.
  at::Tensor numbers(const std::string& name, at::IntArrayRef shape) const {
    const at::Tensor found = tensor(name);
    require_plain(name, found);
    if (found.sizes() != shape) {
      fail(name, "has another shape: found " + io::shape_text(found.sizes()) + ", expected " + io::shape_text(shape));
    }
    at::Tensor values = found.to(at::kFloat);
    if (!at::isfinite(values).all().item<bool>()) {
      fail(name, "holds a value that is not finite: found NaN or infinity, expected numbers. Likely cause: an encoder that computed in "
                 "float16");
    }
    return values;
  }

  void require_plain(const std::string& name, const at::Tensor& found) const {
    if (!io::is_plain_float(found.scalar_type())) {
      fail(name, "has another dtype: found " + stored_dtype(name) + ", expected F32, F16, BF16 or F64");
    }
  }

  /// As the file names it.
  std::string stored_dtype(const std::string& name) const { return file_.entry(name).dtype_name; }

  [[noreturn]] void fail(const std::string& name, const std::string& what) const {
    data_error(path_.string(), "the tensor " + name + " " + what);
  }

 private:
  static io::SafetensorsFile open(const fs::path& path) {
    return guarded([&] { return io::SafetensorsFile(path); });
  }
  /// What is wrong with such a file is wrong with the data, not with the model.
  template <typename Read>
  static auto guarded(const Read& read) -> decltype(read()) {
    try {
      return read();
    } catch (const Error& error) {
      throw Error(ErrorKind::kData, error.what());
    }
  }

  fs::path path_;
  io::SafetensorsFile file_;
};

void require_known_names(const TensorFile& file) {
  for (const std::string& name : file.names()) {
    if (std::find(std::begin(kNames), std::end(kNames), name) == std::end(kNames)) {
      file.fail(printable(name), "is not one of an image's: expected " + join({std::begin(kNames), std::end(kNames)}));
    }
  }
}

std::array<int64_t, 3> shape_of_latents(const TensorFile& file, const char* name) {
  const std::vector<int64_t> shape = file.shape(name, 3, "[channels, height, width]");
  file.require_plain(name, file.tensor(name));
  return {shape[0], shape[1], shape[2]};
}

void require_shape_of_latents(const TensorFile& file, const char* name, const std::array<int64_t, 3>& latents) {
  if (const std::array<int64_t, 3> found = shape_of_latents(file, name); found != latents) {
    file.fail(name, "has another shape: found " + io::shape_text(found) + ", expected that of the latents, " + io::shape_text(latents));
  }
}

std::optional<int64_t> timestep_of(const TensorFile& file) {
  if (!file.has(kTimestep)) {
    return std::nullopt;
  }
  const at::Tensor found = file.tensor(kTimestep);
  if (found.numel() != 1 || !at::isIntegralType(found.scalar_type(), /*includeBool=*/false) || found.item<int64_t>() < 0) {
    file.fail(kTimestep, "is no timestep: found " + file.stored_dtype(kTimestep) + " " + io::shape_text(found.sizes()) +
                             ", expected one integer from 0 on");
  }
  return found.item<int64_t>();
}

std::optional<std::array<float, 6>> time_ids_of(const TensorFile& file) {
  if (!file.has(kTimeIds)) {
    return std::nullopt;
  }
  const std::vector<int64_t> shape = file.shape(kTimeIds, 1, "[6]");
  at::Tensor ids = file.tensor(kTimeIds);
  ids = file.numbers(kTimeIds, {6}).contiguous();
  std::array<float, 6> values{};
  std::copy_n(ids.const_data_ptr<float>(), 6, values.begin());
  return values;
}

void read_text(const TensorFile& file, ImageRow& row) {
  const std::vector<int64_t> states = file.shape(kStates, 2, "[positions, channels]");
  file.require_plain(kStates, file.tensor(kStates));
  row.states = {states[0], states[1]};
  if (file.has(kPooled)) {
    row.pooled = file.shape(kPooled, 1, "[channels]").front();
    file.require_plain(kPooled, file.tensor(kPooled));
  }
}

/// Stacks a tensor of every image, [N, ...].
at::Tensor stacked(const std::vector<at::Tensor>& all) {
  return all.empty() ? at::Tensor() : at::stack(all);
}

/// The tensors of a batch's images, one after the other.
struct ImageTensors {
  std::vector<at::Tensor> latents, log_variance, noise, states, pooled, time_ids;
  std::vector<int64_t> timesteps;

  void add(const ImageRow& row) {
    const TensorFile image(*row.image_file);
    latents.push_back(image.numbers(row.is_posterior ? kMean : kLatents, row.latents));
    if (row.is_posterior) {
      log_variance.push_back(image.numbers(kLogVariance, row.latents));
    }
    if (row.has_noise) {
      noise.push_back(image.numbers(kNoise, row.latents));
    }
    if (row.timestep) {
      timesteps.push_back(*row.timestep);
    }
    if (row.time_ids) {
      time_ids.push_back(at::tensor(at::ArrayRef<float>(*row.time_ids), at::kFloat));
    }
    add_text(*row.text_file == *row.image_file ? image : TensorFile(*row.text_file), row);
  }

  void add_text(const TensorFile& text, const ImageRow& row) {
    states.push_back(text.numbers(kStates, row.states));
    if (row.pooled > 0) {
      pooled.push_back(text.numbers(kPooled, {row.pooled}));
    }
  }
};

}  // namespace

ImageRow read_image_row(const fs::path& image_file, const fs::path& text_file) {
  const TensorFile image(image_file);
  require_known_names(image);
  ImageRow row;
  row.image_file = std::make_shared<const std::string>(image_file.string());
  row.is_posterior = !image.has(kLatents) && image.has(kMean);
  row.latents = shape_of_latents(image, row.is_posterior ? kMean : kLatents);
  if (row.is_posterior) {
    require_shape_of_latents(image, kLogVariance, row.latents);
  }
  row.has_noise = image.has(kNoise);
  if (row.has_noise) {
    require_shape_of_latents(image, kNoise, row.latents);
  }
  row.timestep = timestep_of(image);
  row.time_ids = time_ids_of(image);
  if (text_file == image_file) {
    row.text_file = row.image_file;
    read_text(image, row);
  } else {
    const TensorFile text(text_file);
    require_known_names(text);
    row.text_file = std::make_shared<const std::string>(text_file.string());
    read_text(text, row);
  }
  return row;
}

EncodedContent encode_diffusion_tensors(const Fields& fields, const FormatContext&) {
  const fs::path file = fields.folder() / fields.text("file_name");
  ImageRow row = read_image_row(file, file);
  row.is_prior = is_prior_row(fields);
  if (fields.has("text")) {
    row.caption = std::make_shared<const std::string>(fields.text("text"));
  }
  return {std::move(row)};
}

void require_like_image(const ImageRow& first, const std::string& where_first, const ImageRow& image, const std::string& where) {
  const auto check = [&](const std::string& what, const std::string& found, const std::string& expected) {
    if (found != expected) {
      data_error(where, "the image differs from that of " + where_first + " in " + what + ": found " + found + ", expected " + expected);
    }
  };
  const auto given = [](bool is_given) { return std::string(is_given ? "given" : "not given"); };
  check("the channels of its latents", std::to_string(image.latents[0]), std::to_string(first.latents[0]));
  check("the channels of its text states", std::to_string(image.states[1]), std::to_string(first.states[1]));
  check("the channels of its pooled text", std::to_string(image.pooled), std::to_string(first.pooled));
  check("its time_ids", given(image.time_ids.has_value()), given(first.time_ids.has_value()));
  check("its noise", given(image.has_noise), given(first.has_noise));
  check("its timestep", given(image.timestep.has_value()), given(first.timestep.has_value()));
  check("its tensors", image.is_posterior ? "mean and log_variance" : "latents", first.is_posterior ? "mean and log_variance" : "latents");
}

std::vector<SourceFile> files_of(const std::vector<Example>& images) {
  std::vector<SourceFile> files;
  std::set<std::string> known;
  for (const Example& example : images) {
    for (const auto& file : {example.image()->image_file, example.image()->text_file}) {
      if (known.insert(*file).second) {
        throw_if_interrupted();
        files.push_back({*file, sha256_of_file(*file, ErrorKind::kData)});
      }
    }
  }
  return files;
}

nn::LatentImages images_of(const Dataset& dataset, const std::vector<int64_t>& indices) {
  ImageTensors all;
  for (const int64_t index : indices) {
    all.add(*dataset.examples.at(static_cast<size_t>(index)).image());
  }
  nn::LatentImages images{stacked(all.latents), stacked(all.log_variance), stacked(all.noise), at::Tensor(),
                          {stacked(all.states), stacked(all.pooled), stacked(all.time_ids)}};
  if (!all.timesteps.empty()) {
    images.timesteps_N = at::tensor(all.timesteps, at::kLong);
  }
  return images;
}

}  // namespace lora::data

#include "lora/nn/rope.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <sstream>

#include "lora/base/log.h"
#include "lora/base/text.h"

namespace lora::nn {

namespace {

/// theta^(2i/dim), in float32 as transformers computes it.
Tensor position_frequencies(double theta, int64_t dim) {
  const Tensor exponents = at::arange(0, dim, 2, at::kFloat) / static_cast<double>(dim);
  return at::pow(theta, exponents);
}

/// Dynamic NTK: theta grows with the document beyond the trained length.
double dynamic_theta(const RopeOptions& o, int64_t length) {
  const double seen = static_cast<double>(std::max(length, o.max_position_embeddings));
  const double stretch = o.factor * seen / static_cast<double>(o.max_position_embeddings) - (o.factor - 1.0);
  return o.theta * std::pow(stretch, static_cast<double>(o.dim) / static_cast<double>(o.dim - 2));
}

/// Llama 3.1: low frequencies are divided by the factor, high ones unchanged, and those in between interpolated.
Tensor llama3_frequencies(const RopeOptions& o) {
  const Tensor inverse = position_frequencies(o.theta, o.dim).reciprocal();
  const double old_length = static_cast<double>(o.original_max_position_embeddings);
  const double low_wavelength = old_length / o.low_freq_factor;
  const double high_wavelength = old_length / o.high_freq_factor;
  const Tensor wavelength = 2.0 * std::numbers::pi / inverse;
  const Tensor scaled = at::where(wavelength > low_wavelength, inverse / o.factor, inverse);
  const Tensor smooth = (old_length / wavelength - o.low_freq_factor) / (o.high_freq_factor - o.low_freq_factor);
  const Tensor between = (1 - smooth) * scaled / o.factor + smooth * scaled;
  const Tensor is_between = (wavelength >= high_wavelength).logical_and(wavelength <= low_wavelength);
  return at::where(is_between, between, scaled);
}

/// YaRN (Peng et al. 2023, section 3.2): a ramp over the channels between interpolation and extrapolation.
Tensor yarn_frequencies(const RopeOptions& o) {
  const auto correction = [&](double rotations) {
    const double length = static_cast<double>(o.original_max_position_embeddings);
    return static_cast<double>(o.dim) * std::log(length / (rotations * 2.0 * std::numbers::pi)) / (2.0 * std::log(o.theta));
  };
  double low = correction(o.beta_fast);
  double high = correction(o.beta_slow);
  if (o.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(o.dim - 1));
  if (low == high) {
    high += 0.001;  // no division by zero
  }
  const Tensor ramp = ((at::arange(o.dim / 2, at::kFloat) - low) / (high - low)).clamp(0, 1);
  const Tensor frequencies = position_frequencies(o.theta, o.dim);
  const Tensor extrapolated = frequencies.reciprocal();
  const Tensor interpolated = (o.factor * frequencies).reciprocal();
  const Tensor keep = 1 - ramp;
  return interpolated * (1 - keep) + extrapolated * keep;
}

/// LongRoPE (Ding et al. 2024): one factor per channel, and other factors beyond the original length.
Tensor longrope_frequencies(const RopeOptions& o, int64_t length) {
  const std::vector<double>& factors = length > o.original_max_position_embeddings ? o.long_factor : o.short_factor;
  return (at::tensor(factors, at::kFloat) * position_frequencies(o.theta, o.dim)).reciprocal();
}

/// The length up to which all documents have the same frequencies; none: they always have.
std::optional<int64_t> common_length(const RopeOptions& o) {
  if (o.kind == RopeKind::kDynamic) {
    return o.max_position_embeddings;
  }
  return o.kind == RopeKind::kLongrope ? std::optional(o.original_max_position_embeddings) : std::nullopt;
}

/// The angles of documents beyond the trained length, each by its own length. With a cache, a pass uses the length reached so
/// far, and cached keys keep the frequencies that they were computed with, as in transformers.
void stretch_long_documents(const RopeOptions& o, int64_t common, const BatchLayout& layout, Tensor& angles_TF) {
  TORCH_CHECK(!layout.is_replayed || layout.prefix_length + layout.max_document <= common, "rope: found documents of up to ",
              layout.max_document, " tokens whose lengths only the device knows, expected at most ", common);
  for (int64_t d = 0; d < layout.num_documents(); ++d) {
    const int64_t length = layout.full_length(d);
    if (length > common) {
      const int64_t begin = layout.host_offsets[d];
      const int64_t end = layout.host_offsets[d + 1];
      const Tensor stretched = rope_inverse_frequencies(o, length).to(angles_TF.device());
      angles_TF.slice(0, begin, end).copy_(layout.positions_T.slice(0, begin, end).to(at::kFloat).unsqueeze(1) * stretched);
    }
  }
}

RopeKind read_kind(const JsonReader& rope, const JsonReader& config) {
  const std::string name = rope.string("rope_type", rope.string("type", "default"));
  const auto kind = kRopeKinds.find(name);
  if (!kind) {
    model_error(config.where(), "unknown rope type: found '" + name + "', expected one of " + join(kRopeKinds.names()));
  }
  // The first files of Phi-3 name LongRoPE "yarn".
  return *kind == RopeKind::kYarn && rope.has("long_factor") ? RopeKind::kLongrope : *kind;
}

int64_t read_rotated_channels(const JsonReader& rope, const JsonReader& config, RopeKind kind, int64_t head_dim,
                              const RopeDefaults& defaults) {
  double part = 1.0;
  if (defaults.partial_rotary_factor || kind != RopeKind::kDefault) {  // otherwise the value is not used
    part = rope.number("partial_rotary_factor", config.number(defaults.partial_key, defaults.partial_rotary_factor.value_or(1.0)));
  }
  if (!defaults.partial_rotary_factor && kind == RopeKind::kDefault && config.number(defaults.partial_key, 1.0) != 1.0) {
    log::warn("[" + config.where() + "] partial_rotary_factor has no effect for this family and rope type, as in transformers");
  }
  if (!defaults.partial_rotary_factor && part != 1.0) {
    model_error(config.where(), "partial_rotary_factor: found a value other than 1, expected 1 for this family");
  }
  const auto rotated = static_cast<int64_t>(static_cast<double>(head_dim) * part);
  if (rotated < 2 || rotated % 2 != 0 || rotated > head_dim) {
    model_error(config.where(), "head_dim: found " + std::to_string(rotated) + " channels to rotate of " + std::to_string(head_dim) +
                                    ", expected an even number (rotary embeddings)");
  }
  return rotated;
}

/// One factor per pair of channels.
std::vector<double> read_factors(const JsonReader& rope, const char* key, int64_t count) {
  const Json& list = rope.at(key);
  const bool fits = list.is_array() && static_cast<int64_t>(list.size()) == count &&
                    std::all_of(list.begin(), list.end(), [](const Json& value) { return value.is_number() && value.get<double>() > 0; });
  if (!fits) {
    rope.fail(key, "a list of " + std::to_string(count) + " numbers above 0, one per pair of rotated channels");
  }
  return list.get<std::vector<double>>();
}

/// Both sections may have been meant: compares the values of the ignored one with those in effect.
void warn_of_two_sections(const JsonReader& config, const RopeOptions& options) {
  const JsonReader lost = config.object("rope_parameters");
  const double theta = lost.number("rope_theta", options.theta);
  for (const auto& [key, value] : config.at("rope_parameters").items()) {
    lost.has(key);  // all of its keys are ignored, as the warning states
  }
  std::ostringstream message;
  message << "[" << config.where() << "] rope_scaling is used and rope_parameters ignored, as in transformers 5";
  if (theta != options.theta) {
    message << ": rope_theta is " << options.theta << ", not the " << theta << " of rope_parameters";
  }
  log::warn(message.str());
}

/// What a kind has besides its name and theta.
void read_scaling(const JsonReader& rope, const JsonReader& config, const RopeDefaults& defaults, RopeOptions& o) {
  const char* const original = "original_max_position_embeddings";
  // The config's own key takes precedence over the section's (transformers' standardize_rope_params).
  const int64_t of_section = rope.integer(original, o.max_position_embeddings);
  o.original_max_position_embeddings = config.integer(original, defaults.original_max_position_embeddings.value_or(of_section));
  const bool has_default = o.kind == RopeKind::kYarn || o.kind == RopeKind::kLongrope;
  o.factor = has_default && !rope.has("factor")
                 ? static_cast<double>(o.max_position_embeddings) / static_cast<double>(o.original_max_position_embeddings)
                 : rope.number("factor");
  if (has_default && rope.has("attention_factor")) {
    o.attention_factor = rope.number("attention_factor");
  }
  if (o.kind == RopeKind::kLlama3) {
    o.low_freq_factor = rope.number("low_freq_factor");
    o.high_freq_factor = rope.number("high_freq_factor");
  }
  if (o.kind == RopeKind::kYarn) {
    o.beta_fast = rope.number("beta_fast", o.beta_fast);
    o.beta_slow = rope.number("beta_slow", o.beta_slow);
    o.mscale = rope.number("mscale", 0.0);
    o.mscale_all_dim = rope.number("mscale_all_dim", 0.0);
    o.truncate = rope.boolean("truncate", true);
  }
  if (o.kind == RopeKind::kLongrope) {
    o.short_factor = read_factors(rope, "short_factor", o.dim / 2);
    o.long_factor = read_factors(rope, "long_factor", o.dim / 2);
  }
}

}  // namespace

RopeOptions read_rope_options(const JsonReader& config, int64_t head_dim, int64_t max_position_embeddings, const RopeDefaults& defaults) {
  const auto has_section = [&config](const char* key) { return config.has(key) && !config.at(key).empty(); };
  const bool has_scaling = has_section("rope_scaling"), has_parameters = has_section("rope_parameters");
  const Json empty = Json::object();
  const JsonReader none(empty, config.where(), ErrorKind::kModel);
  const JsonReader rope = has_scaling ? config.object("rope_scaling") : has_parameters ? config.object("rope_parameters") : none;
  const RopeOptions options = read_rope_section(rope, config, head_dim, max_position_embeddings, defaults);
  if (has_scaling && has_parameters) {
    warn_of_two_sections(config, options);
  }
  return options;
}

RopeOptions read_rope_section(const JsonReader& rope, const JsonReader& config, int64_t head_dim, int64_t max_position_embeddings,
                              const RopeDefaults& defaults) {
  RopeOptions o;
  o.max_position_embeddings = max_position_embeddings;
  o.theta = rope.number("rope_theta", config.number(defaults.theta_key, defaults.theta));
  o.kind = read_kind(rope, config);
  o.dim = read_rotated_channels(rope, config, o.kind, head_dim, defaults);
  const auto positive = [&config](double value, const char* key) {
    if (!(value > 0)) {
      model_error(config.where(), std::string(key) + ": found " + std::to_string(value) + ", expected a number above 0");
    }
  };
  positive(o.theta, "rope_theta");
  positive(static_cast<double>(max_position_embeddings), "max_position_embeddings");
  if (o.kind == RopeKind::kDefault) {
    if (defaults.original_max_position_embeddings) {
      config.integer("original_max_position_embeddings", 0);  // read, so that it does not count as unknown
    }
    return o;
  }
  read_scaling(rope, config, defaults, o);
  positive(o.factor, "factor");
  positive(static_cast<double>(o.original_max_position_embeddings), "original_max_position_embeddings");
  return o;
}

Tensor rope_inverse_frequencies(const RopeOptions& options, int64_t length) {
  switch (options.kind) {
    case RopeKind::kLinear:
      return position_frequencies(options.theta, options.dim).reciprocal() / options.factor;
    case RopeKind::kDynamic:
      return position_frequencies(dynamic_theta(options, length), options.dim).reciprocal();
    case RopeKind::kLlama3:
      return llama3_frequencies(options);
    case RopeKind::kYarn:
      return yarn_frequencies(options);
    case RopeKind::kLongrope:
      return longrope_frequencies(options, length);
    case RopeKind::kDefault:
      break;
  }
  return position_frequencies(options.theta, options.dim).reciprocal();
}

double rope_attention_factor(const RopeOptions& options) {
  if (options.kind != RopeKind::kYarn && options.kind != RopeKind::kLongrope) {
    return 1.0;
  }
  if (options.attention_factor) {
    return *options.attention_factor;
  }
  if (options.kind == RopeKind::kLongrope) {
    const double original = static_cast<double>(options.original_max_position_embeddings);
    return options.factor <= 1.0 ? 1.0 : std::sqrt(1.0 + std::log(options.factor) / std::log(original));
  }
  const auto mscale = [&](double scale) { return options.factor <= 1.0 ? 1.0 : 0.1 * scale * std::log(options.factor) + 1.0; };
  if (options.mscale != 0.0 && options.mscale_all_dim != 0.0) {
    return mscale(options.mscale) / mscale(options.mscale_all_dim);
  }
  return mscale(1.0);
}

Rope::Rope(RopeOptions options) : options_(std::move(options)), inverse_frequencies_(rope_inverse_frequencies(options_, 0)) {}

RopeTables Rope::tables(const BatchLayout& layout, at::ScalarType dtype) const {
  const at::NoGradGuard no_grad;
  const at::Device device = layout.device();
  if (inverse_frequencies_.device() != device) {  // concurrent passes only read it
    inverse_frequencies_ = inverse_frequencies_.to(device);
  }
  Tensor angles_TF = layout.positions_T.to(at::kFloat).unsqueeze(1) * inverse_frequencies_;
  if (const std::optional<int64_t> common = common_length(options_)) {
    stretch_long_documents(options_, *common, layout, angles_TF);
  }
  const Tensor angles_TE = at::cat({angles_TF, angles_TF}, 1);
  const double factor = rope_attention_factor(options_);
  return {(angles_TE.cos() * factor).to(dtype), (angles_TE.sin() * factor).to(dtype)};
}

}  // namespace lora::nn

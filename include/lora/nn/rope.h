#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/enum_table.h"
#include "lora/base/json.h"
#include "lora/nn/batch.h"

namespace lora::nn {

/// Rotary position embeddings (Su et al. 2021) in the variants of transformers' modeling_rope_utils.

enum class RopeKind { kDefault, kLinear, kDynamic, kLlama3, kYarn, kLongrope };
inline constexpr EnumTable<RopeKind, 7> kRopeKinds{{{{RopeKind::kDefault, "default"},
                                                     {RopeKind::kLinear, "linear"},
                                                     {RopeKind::kDynamic, "dynamic"},
                                                     {RopeKind::kLlama3, "llama3"},
                                                     {RopeKind::kYarn, "yarn"},
                                                     {RopeKind::kLongrope, "longrope"},
                                                     {RopeKind::kLongrope, "su"}}}};

struct RopeOptions {
  RopeKind kind = RopeKind::kDefault;
  double theta = 10000.0;
  int64_t dim = 0;                      ///< rotated channels of a head
  int64_t max_position_embeddings = 0;  ///< the trained length, for dynamic
  double factor = 1.0;
  int64_t original_max_position_embeddings = 0;  ///< llama3, yarn, longrope
  double low_freq_factor = 1.0;                  ///< llama3
  double high_freq_factor = 4.0;                 ///< llama3
  double beta_fast = 32.0;                       ///< yarn
  double beta_slow = 1.0;                        ///< yarn
  double mscale = 0.0;                           ///< yarn; 0: not given
  double mscale_all_dim = 0.0;                   ///< yarn; 0: not given
  std::optional<double> attention_factor;        ///< yarn, longrope
  bool truncate = true;                          ///< yarn
  std::vector<double> short_factor;              ///< longrope, [dim/2]: up to the original length
  std::vector<double> long_factor;               ///< longrope, [dim/2]: in longer documents
};

/// What a family uses if config.json has no such key.
struct RopeDefaults {
  double theta = 10000.0;
  std::optional<double> partial_rotary_factor = std::nullopt;  ///< part of a head that is rotated; none: the family has no such key
  /// Takes precedence over the section's own value.
  std::optional<int64_t> original_max_position_embeddings = std::nullopt;
  const char* theta_key = "rope_theta";               ///< in config.json, if the section has none
  const char* partial_key = "partial_rotary_factor";  ///< the same
};

/// Reads config.json's rope keys as transformers 5 does: if both are present, `rope_scaling` (whose type is `rope_type` or `type`)
/// replaces `rope_parameters`; keys that the section lacks come from config.json itself. Throws model Error for an unknown type
/// (lists the known ones) or a missing key.
RopeOptions read_rope_options(const JsonReader& config, int64_t head_dim, int64_t max_position_embeddings,
                              const RopeDefaults& defaults = {});
/// The same for a given section: that of one kind of layers.
RopeOptions read_rope_section(const JsonReader& rope, const JsonReader& config, int64_t head_dim, int64_t max_position_embeddings,
                              const RopeDefaults& defaults = {});

/// Inverse frequencies [dim/2] in float32 for a document of `length` tokens (only dynamic and longrope depend on it).
Tensor rope_inverse_frequencies(const RopeOptions& options, int64_t length);

/// Factor of cos and sin: 1 except for yarn (Peng et al. 2023, section 3.4) and longrope (Ding et al. 2024).
double rope_attention_factor(const RopeOptions& options);

/// cos and sin of each token's angles, [T, dim], with two equal halves: what ops::rotary_embedding takes.
struct RopeTables {
  Tensor cos_TE;
  Tensor sin_TE;
};

/// Computes the tables once per pass, in float32, and rounds them to `dtype`.
class Rope {
 public:
  explicit Rope(RopeOptions options);
  RopeTables tables(const BatchLayout& layout, at::ScalarType dtype) const;

 private:
  RopeOptions options_;
  mutable Tensor inverse_frequencies_;  ///< on the device of the last pass: copying them would wait for it
};

}  // namespace lora::nn

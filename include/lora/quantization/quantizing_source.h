#pragma once
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "lora/base/regex.h"
#include "lora/io/weight_source.h"
#include "lora/quantization/quantize.h"

namespace lora::quantization {

/// The modules that keep plain numbers: the head over the vocabulary, and for each entry those that transformers'
/// llm_int8_skip_modules means, where it is a regular expression that matches from the start of a module's name up to the end of a
/// part of it, or the end of the name itself.
class PlainModules {
 public:
  /// Throws config Error for an entry that is not a regular expression.
  explicit PlainModules(std::vector<std::string> entries);

  bool contains(const std::string& module) const;
  /// The same; remembers the entries that mean this module.
  bool see(const std::string& module);
  /// Entries that mean no module that was seen.
  std::vector<std::string> unmatched() const;

 private:
  bool means(size_t entry, const std::string& module) const;

  std::vector<std::string> entries_;
  std::vector<Regex> expressions_;
  std::set<size_t> matched_;
};

/// How the weights of a model are quantised while they are loaded.
struct LoadingOptions {
  QuantizationOptions quantization;
  at::ScalarType dtype;  ///< weights are converted to it first, as in transformers: it is the dtype of the packed values
  bool inputs_first = false;              ///< projections are stored [in, out] (transformers' Conv1D); packed they are [out, in]
  std::vector<std::string> skip_modules;  ///< see PlainModules
  std::string where;                      ///< the model's folder, for errors
};

/// A weight as it is loaded quantised: converted to options.dtype and then packed, [out, in]. A stack of matrices [N, O, I] becomes one
/// matrix [N · O, I]. A matrix that is packed already is decoded first.
/// @param name for errors. Throws model Error if a value is not finite.
std::shared_ptr<const io::PackedMatrix> quantized_weight(const io::StoredWeight& stored, const std::string& name,
                                                         const LoadingOptions& options);

/// A source whose projections are quantised one by one when they are asked for: at any time there is one tensor of plain numbers, whose
/// pages are dropped before the next. What weight() gives for WeightRole::kLinear is packed, except for the PlainModules, which have what
/// the source has. What get() gives, for norms, routers and tables, is plain; small tensors are copied and their pages dropped too.
class QuantizingSource : public io::WeightSource {
 public:
  /// Throws config Error for an entry of skip_modules that is not a regular expression.
  QuantizingSource(io::WeightSource& source, LoadingOptions options);

  io::StoredWeight weight(const std::string& name, const std::vector<int64_t>& shape, io::WeightRole role) override;
  Tensor get(const std::string& name, const std::vector<int64_t>& shape, io::WeightRole role) override;
  bool contains(const std::string& name) const override { return source_.contains(name); }
  std::vector<std::string> unused() const override { return source_.unused(); }
  void release(const std::string& name) const override { source_.release(name); }

  /// What was asked for so far determines unmatched().
  const PlainModules& plain_modules() const { return plain_; }

 private:
  io::WeightSource& source_;
  LoadingOptions options_;
  PlainModules plain_;
};

}  // namespace lora::quantization

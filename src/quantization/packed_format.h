#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/io/checkpoint.h"

namespace lora::quantization {

using at::Tensor;

/// The tensors in which a checkpoint stores one packed weight: part "scales" of the module "X" is the tensor "X.scales".
class Parts {
 public:
  Parts(const io::Checkpoint& files, std::string module) : files_(files), module_(std::move(module)) {}

  const std::string& module() const { return module_; }
  bool has(const std::string& part) const { return files_.contains(module_ + "." + part); }
  /// Throws model Error naming the tensor if it is missing.
  io::TensorFacts facts(const std::string& part) const;
  Tensor tensor(const std::string& part) const;
  /// facts() of a matrix without empty dimensions. Throws model Error naming the tensor if it is anything else.
  io::TensorFacts matrix(const std::string& part, at::ScalarType dtype) const;
  /// facts() of scales: one of float32, bfloat16 and float16.
  io::TensorFacts scales(const std::string& part) const;
  /// The one number of a part. Throws model Error if it has another count.
  int64_t number(const std::string& part) const;
  /// Drops a part's pages from memory.
  void release(const std::string& part) const { files_.release(module_ + "." + part); }
  /// For errors: the file and the part's tensor.
  std::string where(const std::string& part) const;
  /// For errors about the whole weight.
  std::string where() const { return where("weight"); }
  [[noreturn]] void fail(const std::string& part, const std::string& found, const std::string& expected) const;

 private:
  const io::Checkpoint& files_;
  std::string module_;
};

/// What is known of a packed weight before its codes are read.
struct PackedFacts {
  int64_t rows = 0;
  int64_t columns = 0;
  std::string format;  ///< PackedMatrix::format()
  at::ScalarType dtype = at::kFloat;
  bool stays_packed = true;  ///< false: it can only be decoded while it is loaded
};

/// How files store packed weights: one `quant_method` of config.json, with what its quantization_config says of the variant.
class PackedFormat {
 public:
  virtual ~PackedFormat() = default;

  /// Every part that a module may have (but not "bias"), relative to the module.
  virtual std::vector<std::string> parts() const = 0;
  /// The parts by which a packed module is recognised: it has one of them.
  virtual std::vector<std::string> marks() const = 0;
  virtual PackedFacts facts(const Parts& parts) const = 0;
  /// The weight [rows, columns]. Its matrix keeps the mapped memory of the files where that can be used as it is. Both functions throw
  /// model Error naming the tensor if a part is missing or does not fit the others.
  virtual io::StoredWeight read(const Parts& parts) const = 0;
  /// What is unusual in these files, to be judged by one of their modules.
  virtual std::vector<std::string> notes(const Parts&) const { return {}; }
};

/// @param section quantization_config. Throws model Error naming the key for a variant that is not read.
using MakeFormat = std::unique_ptr<PackedFormat>(const JsonReader& section);

MakeFormat make_bitsandbytes, make_gptq, make_awq, make_compressed_tensors, make_fp8, make_hqq, make_auto_round;

/// @param adds_one GPTQ's version 1, which stores zero points minus one.
std::unique_ptr<PackedFormat> make_gptq_of(const JsonReader& section, bool adds_one);

/// The codes of a row-major matrix of bit streams (int32 or uint8 [rows, words]), uint8 [rows, columns].
Tensor unpacked_codes(const Tensor& streams, int64_t columns, int64_t bits);

/// The bytes of a matrix of words, [rows, bytes of a row].
Tensor as_bytes(const Tensor& words);

}  // namespace lora::quantization

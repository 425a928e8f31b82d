#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/io/checkpoint_writer.h"
#include "lora/io/tensors.h"
#include "lora/quantization/quantize.h"

// Files as bitsandbytes and transformers write them: the only packed format that is written.
namespace lora::quantization {

/// The options with which quantize() gives matrices in the format of this one; none: the format is not one of bitsandbytes'.
std::optional<QuantizationOptions> bitsandbytes_options(const io::PackedMatrix& matrix);

/// The tensors in which a file stores the weight of a module, as Linear4bit and Linear8bitLt save them: `module`.weight, the codes, comes
/// first, then `module`.weight.absmax and so on. They share the matrix's memory. Throws std::invalid_argument for a matrix in another
/// format.
std::vector<io::NamedTensor> bitsandbytes_tensors(const io::PackedMatrix& matrix, const std::string& module);

/// The same, to be written with write_checkpoint. Everything but the codes is kept until then; the codes, nearly all of the bytes, are
/// taken from `again`, which makes an equal matrix when they are written.
std::vector<io::TensorStream> bitsandbytes_streams(const io::PackedMatrix& matrix, const std::string& module,
                                                   std::function<std::shared_ptr<const io::PackedMatrix>()> again);

/// config.json's quantization_config with the keys of transformers.
/// @param compute_dtype in which bitsandbytes computes: float32, bfloat16 or float16.
/// @param plain_modules every module of the file whose weight is plain. Given such a list, transformers does not choose any itself.
Json bitsandbytes_config(const QuantizationOptions& options, at::ScalarType compute_dtype, const std::vector<std::string>& plain_modules);

}  // namespace lora::quantization

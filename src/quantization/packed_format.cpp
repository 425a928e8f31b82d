#include "quantization/packed_format.h"

#include <ATen/ATen.h>

#include "lora/base/error.h"
#include "lora/base/text.h"
#include "lora/io/tensor_facts.h"
#include "quantization/cpu/scaled_codes.h"
#include "quantization/elements.h"

namespace lora::quantization {

namespace {

std::string shown_facts(const io::TensorFacts& facts) {
  return printable(facts.stored_as) + " " + io::shape_text(facts.shape);
}

}  // namespace

std::string Parts::where(const std::string& part) const {
  return files_.path().string() + ": tensor '" + printable(module_ + "." + part, 120) + "'";
}

void Parts::fail(const std::string& part, const std::string& found, const std::string& expected) const {
  model_error(where(part), "found " + found + ", expected " + expected);
}

io::TensorFacts Parts::facts(const std::string& part) const {
  if (!has(part)) {
    model_error(where(part), "is missing, but the module is quantised and needs it. Likely cause: an incomplete download or copy.");
  }
  return files_.facts(module_ + "." + part);
}

Tensor Parts::tensor(const std::string& part) const {
  facts(part);
  return files_.tensor(module_ + "." + part);
}

io::TensorFacts Parts::matrix(const std::string& part, at::ScalarType dtype) const {
  io::TensorFacts found = facts(part);
  if (found.dtype != dtype || found.shape.size() != 2 || found.shape[0] < 1 || found.shape[1] < 1) {
    fail(part, shown_facts(found), std::string("a matrix of ") + c10::toString(dtype));
  }
  return found;
}

io::TensorFacts Parts::scales(const std::string& part) const {
  io::TensorFacts found = facts(part);
  if (!is_value_dtype(found.dtype)) {
    fail(part, shown_facts(found), "scales in float32, bfloat16 or float16");
  }
  return found;
}

int64_t Parts::number(const std::string& part) const {
  const Tensor found = tensor(part);
  if (found.numel() != 1 || found.is_floating_point()) {
    fail(part, shown_facts(facts(part)), "one integer");
  }
  return found.item<int64_t>();
}

Tensor as_bytes(const Tensor& words) {
  return words.contiguous().view(at::kByte);
}

Tensor unpacked_codes(const Tensor& streams, int64_t columns, int64_t bits) {
  const Tensor bytes = as_bytes(streams);
  Tensor codes = at::empty({bytes.size(0), columns}, at::kByte);
  for (int64_t row = 0; row < bytes.size(0); ++row) {
    cpu::unpack_codes(bytes.const_data_ptr<uint8_t>() + row * bytes.size(1), 0, columns, bits,
                      codes.mutable_data_ptr<uint8_t>() + row * columns);
  }
  return codes;
}

}  // namespace lora::quantization

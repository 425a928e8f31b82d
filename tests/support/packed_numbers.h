#pragma once
#include <ATen/ATen.h>

#include <map>
#include <memory>
#include <string>

#include "lora/io/packed_matrix.h"
#include "support/tensors.h"

namespace lora::test {

/// A format of packed weights that is none of the program's: whole numbers of 8 bits, each a value in eighths.
class PackedNumbers : public io::PackedMatrix {
 public:
  PackedNumbers(int64_t outputs, int64_t inputs) : codes_OI_((4 * normal({outputs, inputs}, 4)).round().to(at::kChar)) {}

  int64_t out_features() const override { return codes_OI_.size(0); }
  int64_t in_features() const override { return codes_OI_.size(1); }
  std::string format() const override { return "eighths"; }
  int64_t bytes() const override { return codes_OI_.numel(); }
  at::Device device() const override { return codes_OI_.device(); }
  at::ScalarType value_dtype() const override { return at::kFloat; }
  int64_t column_step() const override { return 4; }
  void decode(const io::Tile& tile, at::ScalarType dtype, void* out, int64_t stride) const override {
    const Tensor codes = codes_OI_.slice(0, tile.row_begin, tile.row_end).slice(1, tile.column_begin, tile.column_end);
    at::from_blob(out, {tile.rows(), tile.columns()}, {stride, 1}, at::TensorOptions(dtype)).copy_(codes.to(at::kFloat) / 8);
  }
  std::shared_ptr<const io::PackedMatrix> to(at::Device device) const override {
    return std::make_shared<const PackedNumbers>(codes_OI_.to(device));
  }
  std::map<std::string, Tensor> tensors() const override { return {{"codes", codes_OI_}}; }

  explicit PackedNumbers(Tensor codes_OI) : codes_OI_(std::move(codes_OI)) {}

 private:
  Tensor codes_OI_;
};

}  // namespace lora::test

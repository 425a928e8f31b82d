#pragma once
#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lora/base/random.h"
#include "lora/io/weight_source.h"
#include "support/tensors.h"

namespace lora::test {

/// A packed matrix as simple as can be: whole numbers of 8 bits and one scale for each row, for products in float32.
class PackedRows : public io::PackedMatrix {
 public:
  PackedRows(int64_t outputs, int64_t inputs, uint64_t seed)
      : codes_OI_((20 * normal({outputs, inputs}, seed)).round().clamp(-127, 127).to(at::kChar)),
        scales_O_(normal({outputs}, seed + 1, at::kFloat).abs() / 20 + 0.01) {}

  int64_t out_features() const override { return codes_OI_.size(0); }
  int64_t in_features() const override { return codes_OI_.size(1); }
  std::string format() const override { return "rows"; }
  int64_t bytes() const override { return static_cast<int64_t>(codes_OI_.nbytes() + scales_O_.nbytes()); }
  at::Device device() const override { return at::kCPU; }
  at::ScalarType value_dtype() const override { return at::kFloat; }
  void decode(const io::Tile& tile, at::ScalarType dtype, void* out, int64_t stride) const override {
    TORCH_CHECK(dtype == at::kFloat, "only float32");
    const Tensor values = (codes_OI_.to(at::kFloat) * scales_O_.unsqueeze(1))
                              .slice(0, tile.row_begin, tile.row_end)
                              .slice(1, tile.column_begin, tile.column_end);
    at::from_blob(out, values.sizes(), {stride, 1}, at::kFloat).copy_(values);
  }
  std::shared_ptr<const io::PackedMatrix> to(at::Device) const override { return std::make_shared<const PackedRows>(*this); }
  std::map<std::string, Tensor> tensors() const override { return {{"codes", codes_OI_}, {"scales", scales_O_}}; }

 private:
  Tensor codes_OI_, scales_O_;
};

/// Gives the projections whose names end so as packed matrices; everything else as standard normal numbers by its name.
class PackedSource : public io::WeightSource {
 public:
  explicit PackedSource(std::vector<std::string> packed) : packed_(std::move(packed)) {}

  io::StoredWeight weight(const std::string& name, const std::vector<int64_t>& shape, io::WeightRole role) override {
    const auto names_it = [&name](const std::string& end) { return name.ends_with(end + ".weight"); };
    if (role == io::WeightRole::kLinear && std::any_of(packed_.begin(), packed_.end(), names_it)) {
      return {{}, std::make_shared<const PackedRows>(shape[0], shape[1], hash_name(name))};
    }
    return {normal(shape, hash_name(name), at::kFloat)};
  }
  bool contains(const std::string&) const override { return true; }
  std::vector<std::string> unused() const override { return {}; }

 private:
  std::vector<std::string> packed_;
};

}  // namespace lora::test

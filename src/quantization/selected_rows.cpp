#include "lora/quantization/selected_rows.h"

#include <ATen/ATen.h>

#include "lora/base/error.h"

namespace lora::quantization {

namespace {

class SelectedRows : public io::PackedMatrix {
 public:
  SelectedRows(std::shared_ptr<const io::PackedMatrix> matrix, std::vector<int64_t> rows)
      : matrix_(std::move(matrix)), rows_(std::move(rows)) {}

  int64_t out_features() const override { return static_cast<int64_t>(rows_.size()); }
  int64_t in_features() const override { return matrix_->in_features(); }
  std::string format() const override { return matrix_->format(); }
  int64_t bytes() const override { return matrix_->bytes() * out_features() / matrix_->out_features(); }
  at::Device device() const override { return matrix_->device(); }
  at::ScalarType value_dtype() const override { return matrix_->value_dtype(); }
  int64_t column_step() const override { return matrix_->column_step(); }

  void decode(const io::Tile& tile, at::ScalarType dtype, void* out, int64_t stride) const override {
    const auto row_bytes = stride * static_cast<int64_t>(at::elementSize(dtype));
    for_each_run(tile.row_begin, tile.row_end, [&](int64_t first, int64_t last, int64_t offset) {
      matrix_->decode({first, last, tile.column_begin, tile.column_end}, dtype, static_cast<char*>(out) + offset * row_bytes, stride);
    });
  }
  void multiply_rows(const float* x, int64_t row_begin, int64_t row_end, float* y) const override {
    for_each_run(row_begin, row_end,
                 [&](int64_t first, int64_t last, int64_t offset) { matrix_->multiply_rows(x, first, last, y + offset); });
  }
  Tensor decoded(const io::Tile& tile, at::ScalarType dtype) const override {
    std::vector<Tensor> parts;
    for_each_run(tile.row_begin, tile.row_end, [&](int64_t first, int64_t last, int64_t) {
      parts.push_back(matrix_->decoded({first, last, tile.column_begin, tile.column_end}, dtype));
    });
    return parts.size() == 1 ? parts.front() : at::cat(parts);
  }

  std::shared_ptr<const io::PackedMatrix> to(at::Device device) const override {
    return std::make_shared<const SelectedRows>(matrix_->to(device), rows_);
  }
  std::map<std::string, Tensor> tensors() const override {
    std::map<std::string, Tensor> tensors = matrix_->tensors();
    tensors.emplace("rows", at::tensor(rows_, at::kLong));
    return tensors;
  }

 private:
  /// Calls run(first, last, offset) for neighbouring rows [first, last) of the matrix, which are the rows from begin + offset on here.
  template <typename Run>
  void for_each_run(int64_t begin, int64_t end, const Run& run) const {
    for (int64_t i = begin; i < end;) {
      const int64_t first = rows_[static_cast<size_t>(i)];
      int64_t length = 1;
      while (i + length < end && rows_[static_cast<size_t>(i + length)] == first + length) {
        ++length;
      }
      run(first, first + length, i - begin);
      i += length;
    }
  }

  std::shared_ptr<const io::PackedMatrix> matrix_;
  std::vector<int64_t> rows_;
};

}  // namespace

std::shared_ptr<const io::PackedMatrix> select_rows(std::shared_ptr<const io::PackedMatrix> matrix, std::vector<int64_t> rows) {
  for (const int64_t row : rows) {
    if (row < 0 || row >= matrix->out_features()) {
      model_error("rows of a packed matrix", "found row " + std::to_string(row) + ", expected rows below " +
                                                 std::to_string(matrix->out_features()));
    }
  }
  return std::make_shared<const SelectedRows>(std::move(matrix), std::move(rows));
}

}  // namespace lora::quantization

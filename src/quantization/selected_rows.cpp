#include "lora/quantization/selected_rows.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/error.h"
#include "quantization/blocks.h"

namespace lora::quantization {

namespace {

class SelectedRows : public io::PackedMatrix {
 public:
  SelectedRows(std::shared_ptr<const io::PackedMatrix> matrix, std::vector<int64_t> rows)
      : matrix_(std::move(matrix)), rows_(std::move(rows)) {
    is_run_ = !rows_.empty();
    for (size_t i = 1; i < rows_.size(); ++i) {
      is_run_ = is_run_ && rows_[i] == rows_[0] + static_cast<int64_t>(i);
    }
  }

  int64_t out_features() const override { return static_cast<int64_t>(rows_.size()); }
  int64_t in_features() const override { return matrix_->in_features(); }
  std::string format() const override { return matrix_->format(); }
  int64_t bytes() const override { return matrix_->bytes() * out_features() / matrix_->out_features(); }
  at::Device device() const override { return matrix_->device(); }
  at::ScalarType value_dtype() const override { return matrix_->value_dtype(); }
  std::shared_ptr<const io::PackedMatrix> in_forward(at::ScalarType dtype) const override {
    std::shared_ptr<const io::PackedMatrix> matrix = matrix_->in_forward(dtype);
    return matrix == nullptr ? nullptr : std::make_shared<const SelectedRows>(std::move(matrix), rows_);
  }
  bool is_finite() const override { return matrix_->is_finite(); }
  int64_t column_step() const override { return matrix_->column_step(); }

  void decode(const io::Tile& tile, at::ScalarType dtype, void* out, int64_t stride) const override {
    const auto row_bytes = stride * static_cast<int64_t>(at::elementSize(dtype));
    for_each_run(tile.row_begin, tile.row_end, [&](int64_t first, int64_t last, int64_t offset) {
      matrix_->decode({first, last, tile.column_begin, tile.column_end}, dtype, static_cast<char*>(out) + offset * row_bytes, stride);
    });
  }
  void multiply_rows(const float* x_TI, int64_t tokens, int64_t row_begin, int64_t row_end, float* y, int64_t stride) const override {
    for_each_run(row_begin, row_end, [&](int64_t first, int64_t last, int64_t offset) {
      matrix_->multiply_rows(x_TI, tokens, first, last, y + offset, stride);
    });
  }
  Tensor decoded(const io::Tile& tile, at::ScalarType dtype) const override {
    if (device().is_cpu() || tile.rows() == 0) {
      return PackedMatrix::decoded(tile, dtype);
    }
    // On a device all rows between the first and the last are decoded at once, because a kernel for each run of rows would take longer.
    const std::vector<int64_t> rows(rows_.begin() + tile.row_begin, rows_.begin() + tile.row_end);
    const auto [low, high] = std::minmax_element(rows.begin(), rows.end());
    const Tensor values = matrix_->decoded({*low, *high + 1, tile.column_begin, tile.column_end}, dtype);
    return is_run_ ? values : values.index_select(0, at::tensor(rows, at::kLong).sub_(*low).to(values.device()));
  }
  /// If the rows are a run that begins with a block (and with one of nested scales): one expert's matrix in a stack.
  std::optional<io::BlockCodes> block_codes() const override {
    std::optional<io::BlockCodes> codes = is_run_ ? matrix_->block_codes() : std::nullopt;
    if (!codes) {
      return std::nullopt;
    }
    const int64_t begin = rows_.front() * in_features(), end = begin + out_features() * in_features();
    const int64_t first = begin / codes->block_size, last = blocks_of(end, codes->block_size);
    const bool is_nested = codes->nested_table.defined();
    if (begin % codes->block_size != 0 || (is_nested && first % codes->nested_block_size != 0)) {
      return std::nullopt;
    }
    codes->codes =
        codes->table.defined() ? codes->codes.slice(0, begin / 2, blocks_of(end, 2)) : codes->codes.flatten().slice(0, begin, end);
    codes->scales = codes->scales.slice(0, first, last);
    if (is_nested) {
      codes->nested_scales = codes->nested_scales.slice(0, first / codes->nested_block_size, blocks_of(last, codes->nested_block_size));
    }
    return codes;
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
  bool is_run_;  ///< rows follow one another in the matrix
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

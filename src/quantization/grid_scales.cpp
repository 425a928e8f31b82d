#include "quantization/grid_scales.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "lora/io/tensor_facts.h"
#include "quantization/blocks.h"

namespace lora::quantization {

namespace {

/// The size of blocks of which `count` cover `extent`: the size that the format names, or the one that divides evenly. 0: neither fits.
int64_t block_size(int64_t extent, int64_t count, int64_t named) {
  if (count < 1 || count > extent) {
    return 0;
  }
  if (named > 0 && blocks_of(extent, named) == count) {
    return named;
  }
  return extent % count == 0 ? extent / count : 0;
}

}  // namespace

std::vector<int64_t> set_blocks(const Parts& parts, const std::string& name, std::vector<int64_t> shape, BlockSize size,
                                ScaledCodesParts& matrix) {
  const std::vector<int64_t> found = shape;
  int64_t count = 1;
  for (const int64_t extent : shape) {
    count = extent > 0 && count <= matrix.rows * matrix.columns / extent ? count * extent : 0;
  }
  if (count == 1) {
    shape = {1, 1};
  } else if (shape.size() == 1 && shape[0] == matrix.rows) {
    shape = {matrix.rows, 1};
  }
  if (count > 0 && shape.size() == 2) {
    matrix.block_rows = block_size(matrix.rows, shape[0], size.rows);
    matrix.block_columns = block_size(matrix.columns, shape[1], size.columns);
  }
  if (count == 0 || shape.size() != 2 || matrix.block_rows == 0 || matrix.block_columns == 0) {
    parts.fail(name, io::shape_text(found), "scales of blocks of a matrix " + io::shape_text({matrix.rows, matrix.columns}));
  }
  return shape;
}

Tensor powers_of_two(const Tensor& exponents) {
  Tensor values = at::empty({256}, at::kFloat);
  auto* const table = values.mutable_data_ptr<float>();
  for (int exponent = 0; exponent < 255; ++exponent) {
    table[exponent] = std::ldexp(1.0F, exponent - 127);
  }
  table[255] = std::numeric_limits<float>::quiet_NaN();
  const Tensor bytes = exponents.contiguous().view(at::kByte);
  return values.index_select(0, bytes.flatten().to(at::kInt)).view(bytes.sizes());
}

}  // namespace lora::quantization

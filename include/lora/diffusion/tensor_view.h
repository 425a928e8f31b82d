#pragma once
#include <cstdint>
#include <string>

namespace lora::diffusion {

/// What a tensor of a model is of a tensor in a file.
enum class ViewKind {
  kWhole,
  kMatrix,      ///< a 1x1 convolution [O, I, 1, 1] (or [O, I, 1]) as a matrix [O, I]
  kTransposed,  ///< [I, O] as [O, I]
  kRows,        ///< some of its rows
};

/// A tensor of a model and where its numbers are.
struct TensorView {
  std::string name;  ///< in the model
  std::string stored;
  ViewKind kind = ViewKind::kWhole;
  int64_t begin_row = 0, num_rows = 0;  ///< of kRows
};

}  // namespace lora::diffusion

#pragma once
#include <cstdint>

#include "lora/ops/activation_kinds.h"
#include "lora/ops/gguf_block.h"

/// The C interface of liblora_cuda.so, the module of the program's own CUDA kernels: pointers, sizes and a stream, without torch, so
/// that nvcc compiles the kernels in seconds and the module works with any LibTorch.
///
/// Every function returns a cudaError_t (0: launched) and returns before the work is done, as CUDA's launches do.
/// Arithmetic is in float32 whatever the dtype; "rounded" below means rounded to the dtype, where ATen's sequence of operations would
/// round too. Tensors are row major; sizes and strides count elements. Without rows, nothing is done.
namespace lora::ops {

/// Increased with every change of a declaration here: a module of another version is not used.
inline constexpr int32_t kCudaInterfaceVersion = 5;

enum class CudaDtype : int32_t { kFloat32, kBFloat16, kFloat16 };

/// Where a kernel runs.
struct CudaPlace {
  int32_t device;
  void* stream;  ///< cudaStream_t
};

/// y = rounded(x / sqrt(mean(x²) + eps)) · w, rounded, over rows of `dim`.
/// With one_plus (Gemma): y = (x / sqrt(mean(x²) + eps)) · (1 + w), rounded once. Zhang & Sennrich 2019.
struct CudaRmsNorm {
  CudaDtype dtype;  ///< of every tensor except rstd
  bool one_plus;
  float eps;
  int64_t rows, dim;
  const void* x;       ///< [rows, dim]
  const void* weight;  ///< [dim]
  void* y;             ///< [rows, dim]
  float* rstd;         ///< [rows], 1 / sqrt(mean(x²) + eps)
};

/// dx = rstd (g - x̂ mean(g x̂)), rounded, with x̂ = x rstd and g = rounded(dy w), or dy (1 + w) with one_plus.
/// dw, in parts that the caller sums: Σ over rows of dy · rounded(x̂), or dy x̂ with one_plus.
struct CudaRmsNormBackward {
  CudaDtype dtype;  ///< of every tensor except rstd and dweight_parts
  bool one_plus;
  int64_t rows, dim;
  const void* x;  ///< [rows, dim]: x of the forward pass
  const void* weight;
  const float* rstd;
  const void* dy;        ///< [rows, dim]
  void* dx;              ///< [rows, dim]; may be dy
  float* dweight_parts;  ///< [parts, dim], or null if the weight is frozen; part i has rows i, i + parts, …
  int64_t parts;         ///< at most 65535
};

/// Rotary embedding (Su et al. 2021) of the first `rotary` channels of every head, in place, by halves:
/// y = rounded(rounded(x · cos) + rounded(rotate_half(x) · sin)), rotate_half(x) = (-x₂, x₁). Backward: its transpose.
struct CudaRope {
  CudaDtype dtype;
  bool backward;
  int64_t tokens, head_dim, rotary;  ///< rotary is even
  void* q;                           ///< token t at q + t · q_stride: [q_heads, head_dim]
  void* k;                           ///< the same; null if k_heads is 0
  int64_t q_heads, q_stride, k_heads, k_stride;
  const void* cos;  ///< [tokens, rotary]
  const void* sin;
};

/// product = rounded(rounded(act(gate)) · up): SwiGLU, GeGLU (Shazeer 2020).
struct CudaGated {
  CudaDtype dtype;
  Activation kind;
  int64_t rows, columns;
  const void* gate;  ///< row t at gate + t · gate_stride
  const void* up;
  int64_t gate_stride, up_stride;
  void* product;  ///< [rows, columns]
};

/// dgate = rounded(rounded(dproduct · up) · act'(gate)), dup = rounded(dproduct · rounded(act(gate))).
struct CudaGatedBackward {
  CudaDtype dtype;
  Activation kind;
  int64_t rows, columns;
  const void* gate;
  const void* up;
  int64_t gate_stride, up_stride;
  const void* dproduct;  ///< [rows, columns]
  void* dgate;           ///< [rows, columns]
  void* dup;             ///< [rows, columns]
};

/// Cross-entropy of every row, and its gradient with respect to the logits: rounded((softmax(logits) - one_hot(label)) · scale).
/// A row whose label is below 0 has loss 0 and gradient 0; one whose label is not below vocab has loss NaN.
struct CudaCrossEntropy {
  CudaDtype dtype;
  float scale;
  int64_t rows, vocab;
  void* logits;           ///< [rows, vocab]: logits in, their gradient out
  const int64_t* labels;  ///< [rows]
  float* losses;          ///< [rows], not scaled
};

/// ops::dropout: channels 2j and 2j + 1 of row t use the low and high half of mix64(mix64(row_keys[t] ^ site_key) + j); an element is
/// 0 if its half is below `threshold`, otherwise rounded(x · keep_scale).
struct CudaDropout {
  CudaDtype dtype;
  uint32_t threshold;
  float keep_scale;
  uint64_t site_key;
  int64_t rows, channels;
  const int64_t* row_keys;  ///< [rows]
  const void* x;            ///< [rows, channels]
  void* y;                  ///< [rows, channels]; may be x
};

/// A matrix of 4- or 8-bit codes with a scale for each block of elements, one row after the other: io::BlockCodes.
struct CudaCodes {
  int64_t columns;      ///< of the matrix
  int64_t block_size;   ///< a multiple of 32, or of 1 for 8 bits
  const void* codes;    ///< with a table two to a byte, the first in the high half; otherwise int8
  const float* table;   ///< [16], or null
  const void* scales;   ///< float32, or uint8 codes of scales if nested_table is not null
  const float* nested_scales;
  const float* nested_table;  ///< [256]
  int64_t nested_block_size;
  float offset, unit;
};

/// The values of a tile [rows, columns], rounded to value_dtype and then to dtype. The same bits as on the CPU.
struct CudaDecode {
  CudaDtype dtype, value_dtype;
  CudaCodes matrix;
  int64_t row_begin, rows, column_begin, columns;
  void* out;  ///< [rows, columns]
};

/// y [tokens, outputs] = x Wᵀ for at most kMostCodedTokens tokens, from the codes, rounded once.
struct CudaMultiplyCodes {
  CudaDtype dtype;  ///< of x and y
  CudaCodes matrix;
  int64_t outputs, tokens;
  const void* x;  ///< [tokens, columns]
  void* y;
};
constexpr int64_t kMostCodedTokens = 4;

/// The same for a matrix of codes with scales on a grid: ops::GridCodes.
struct CudaDecodeGrid {
  CudaDtype dtype, value_dtype;  ///< of out; of scales and zeros
  int64_t row_bytes, bits;
  bool is_signed;
  int64_t block_rows, block_columns, scale_columns;
  const void* codes;
  const float* table;  ///< null: integers
  const void* scales;  ///< [blocks of rows, scale_columns]
  const void* zeros;   ///< the same, or one element, or null
  bool one_zero;
  const int32_t* groups;  ///< [columns of the matrix], or null
  int64_t row_begin, rows, column_begin, columns;
  void* out;  ///< [rows, columns]
};

/// The same for ggml's blocks: ops::GgufCodes. Values are float32.
struct CudaDecodeGguf {
  CudaDtype dtype;
  GgufBlock format;
  int64_t matrix_columns;
  const void* blocks;
  int64_t row_begin, rows, column_begin, columns;
  void* out;  ///< [rows, columns]
};

#define LORA_CUDA_API [[gnu::visibility("default")]]
extern "C" {
LORA_CUDA_API int32_t lora_cuda_interface_version();
/// Whether every device that the driver reports can run the kernels (compute capability 8.0 or later).
LORA_CUDA_API int32_t lora_cuda_check_devices();
LORA_CUDA_API const char* lora_cuda_error_text(int32_t error);

/// Zeroed memory that the driver moves between the place's device and the host (cudaMallocManaged). The stream orders the zeroing.
LORA_CUDA_API int32_t lora_cuda_allocate_managed(const CudaPlace* place, int64_t bytes, void** memory);
/// Waits for the device's work. The stream is not used.
LORA_CUDA_API int32_t lora_cuda_free_managed(const CudaPlace* place, void* memory);

LORA_CUDA_API int32_t lora_cuda_rms_norm(const CudaPlace* place, const CudaRmsNorm* arguments);
LORA_CUDA_API int32_t lora_cuda_rms_norm_backward(const CudaPlace* place, const CudaRmsNormBackward* arguments);
LORA_CUDA_API int32_t lora_cuda_rope(const CudaPlace* place, const CudaRope* arguments);
LORA_CUDA_API int32_t lora_cuda_gated(const CudaPlace* place, const CudaGated* arguments);
LORA_CUDA_API int32_t lora_cuda_gated_backward(const CudaPlace* place, const CudaGatedBackward* arguments);
LORA_CUDA_API int32_t lora_cuda_cross_entropy(const CudaPlace* place, const CudaCrossEntropy* arguments);
LORA_CUDA_API int32_t lora_cuda_dropout(const CudaPlace* place, const CudaDropout* arguments);
LORA_CUDA_API int32_t lora_cuda_decode(const CudaPlace* place, const CudaDecode* arguments);
LORA_CUDA_API int32_t lora_cuda_decode_grid(const CudaPlace* place, const CudaDecodeGrid* arguments);
LORA_CUDA_API int32_t lora_cuda_decode_gguf(const CudaPlace* place, const CudaDecodeGguf* arguments);
LORA_CUDA_API int32_t lora_cuda_multiply_codes(const CudaPlace* place, const CudaMultiplyCodes* arguments);
}
#undef LORA_CUDA_API

}  // namespace lora::ops

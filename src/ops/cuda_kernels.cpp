#include "ops/cuda_kernels.h"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>

namespace lora::ops {

namespace {

CudaDtype cuda_dtype(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return CudaDtype::kFloat32;
    case at::kBFloat16:
      return CudaDtype::kBFloat16;
    case at::kHalf:
      return CudaDtype::kFloat16;
    default:
      TORCH_CHECK(false, "CUDA kernels: found ", dtype, ", expected float32, bfloat16 or float16");
  }
}

CudaDtype dtype_of(const Tensor& x) {
  return cuda_dtype(x.scalar_type());
}

/// The device and its current stream. torch's stream handle is available without a CUDA header.
CudaPlace place_of(const CudaKernels& kernels, const Tensor& x) {
  TORCH_CHECK(x.device().type() == kernels.device_type, "CUDA kernels: found a tensor on ", x.device());
  if (!x.is_cuda()) {
    return {0, nullptr};  // kernels of the CPU, in tests
  }
  const c10::impl::VirtualGuardImpl guard(at::kCUDA);
  return {x.device().index(), guard.getStream(x.device()).native_handle()};
}

void require_like(const Tensor& tensor, const Tensor& model, const char* name) {
  TORCH_CHECK(tensor.device() == model.device() && tensor.scalar_type() == model.scalar_type(), "CUDA kernels: ", name, " is ",
              tensor.scalar_type(), " on ", tensor.device(), ", expected ", model.scalar_type(), " on ", model.device());
}

/// Requires the model's dtype and device, contiguous memory, and the shape.
void require_tensor(const Tensor& tensor, const Tensor& model, at::IntArrayRef shape, const char* name) {
  require_like(tensor, model, name);
  TORCH_CHECK(tensor.is_contiguous() && tensor.sizes() == shape, "CUDA kernels: ", name, " has sizes ", tensor.sizes(), " and strides ",
              tensor.strides(), ", expected contiguous ", shape);
}

/// As require_tensor, but rows may be further apart.
void require_rows(const Tensor& tensor, const Tensor& model, at::IntArrayRef shape, const char* name) {
  require_like(tensor, model, name);
  TORCH_CHECK(tensor.sizes() == shape && (tensor.numel() == 0 || tensor[0].is_contiguous()), "CUDA kernels: ", name, " has sizes ",
              tensor.sizes(), " and strides ", tensor.strides(), ", expected contiguous rows of ", shape);
}

/// Requires the same shape [T, F] for both; rows may be further apart.
void require_gate_and_up(const Tensor& gate_TF, const Tensor& up_TF) {
  TORCH_CHECK(gate_TF.dim() == 2, "CUDA kernels: gate has sizes ", gate_TF.sizes(), ", expected two dimensions");
  require_rows(gate_TF, gate_TF, gate_TF.sizes(), "gate");
  require_rows(up_TF, gate_TF, gate_TF.sizes(), "up");
}

/// Requires contiguous memory and the dtype `type`, which may differ from the model's.
void require_side_tensor(const Tensor& tensor, const Tensor& model, at::ScalarType type, int64_t size, const char* name) {
  TORCH_CHECK(tensor.device() == model.device() && tensor.scalar_type() == type && tensor.is_contiguous() && tensor.numel() == size,
              "CUDA kernels: ", name, " is ", tensor.scalar_type(), " ", tensor.sizes(), " on ", tensor.device(), ", expected ", type,
              " of ", size, " elements");
}

void require_launched(const CudaKernels& kernels, int32_t status, const char* name) {
  TORCH_CHECK(status == 0, "CUDA kernel ", name, ": ", kernels.error_text(status));
}

void* data_or_null(const Tensor& tensor) {
  return tensor.defined() ? tensor.data_ptr() : nullptr;
}

const float* floats_or_null(const Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr;
}

CudaCodes cuda_codes(const io::BlockCodes& codes, int64_t columns) {
  return {.columns = columns,
          .block_size = codes.block_size,
          .codes = codes.codes.const_data_ptr(),
          .table = floats_or_null(codes.table),
          .scales = codes.scales.const_data_ptr(),
          .nested_scales = floats_or_null(codes.nested_scales),
          .nested_table = floats_or_null(codes.nested_table),
          .nested_block_size = codes.nested_block_size,
          .offset = codes.offset,
          .unit = codes.unit};
}

int64_t rows_of(const Tensor& x_TD) {
  return x_TD.size(-1) == 0 ? 0 : x_TD.numel() / x_TD.size(-1);
}

/// The values of a tile by one of the kernels that decode.
/// @param arguments what the kernel needs of the matrix. @param codes on the device.
template <typename Kernel, typename Arguments>
Tensor decode_tile(const CudaKernels& kernels, const Kernel& kernel, const char* name, Arguments arguments, const Tensor& codes,
                   const io::Tile& tile, at::ScalarType dtype) {
  Tensor values = at::empty({tile.rows(), tile.columns()}, codes.options().dtype(dtype));
  arguments.dtype = cuda_dtype(dtype);
  arguments.row_begin = tile.row_begin;
  arguments.rows = tile.rows();
  arguments.column_begin = tile.column_begin;
  arguments.columns = tile.columns();
  arguments.out = values.mutable_data_ptr();
  const CudaPlace place = place_of(kernels, values);
  require_launched(kernels, kernel(&place, &arguments), name);
  return values;
}

}  // namespace

RmsNormed rms_norm_cuda(const CudaKernels& kernels, const Tensor& x_TD, const Tensor& weight_D, double eps, NormWeight form) {
  require_tensor(x_TD, x_TD, x_TD.sizes(), "x");
  require_tensor(weight_D, x_TD, {x_TD.size(-1)}, "weight");
  const int64_t rows = rows_of(x_TD);
  RmsNormed result{at::empty_like(x_TD), at::empty({rows}, x_TD.options().dtype(at::kFloat))};
  const CudaRmsNorm arguments{.dtype = dtype_of(x_TD),
                              .one_plus = form == NormWeight::kOnePlus,
                              .eps = static_cast<float>(eps),
                              .rows = rows,
                              .dim = x_TD.size(-1),
                              .x = x_TD.data_ptr(),
                              .weight = weight_D.data_ptr(),
                              .y = result.y_TD.data_ptr(),
                              .rstd = result.rstd_T.data_ptr<float>()};
  const CudaPlace place = place_of(kernels, x_TD);
  require_launched(kernels, kernels.rms_norm(&place, &arguments), "rms_norm");
  return result;
}

RmsNormGradients rms_norm_backward_cuda(const CudaKernels& kernels, const Tensor& dy_TD, const Tensor& x_TD, const Tensor& rstd_T,
                                        const Tensor& weight_D, NormWeight form, bool train_weight) {
  constexpr int64_t kParts = 128;
  const int64_t rows = rows_of(x_TD), dim = x_TD.size(-1);
  require_tensor(x_TD, x_TD, x_TD.sizes(), "x");
  require_tensor(dy_TD, x_TD, x_TD.sizes(), "dy");
  require_tensor(weight_D, x_TD, {dim}, "weight");
  require_side_tensor(rstd_T, x_TD, at::kFloat, rows, "rstd");
  const int64_t parts = std::min(kParts, rows);
  const Tensor dweight_PD = train_weight ? at::empty({parts, dim}, x_TD.options().dtype(at::kFloat)) : Tensor();
  const Tensor dx_TD = at::empty_like(x_TD);
  const CudaRmsNormBackward arguments{.dtype = dtype_of(x_TD),
                                      .one_plus = form == NormWeight::kOnePlus,
                                      .rows = rows,
                                      .dim = dim,
                                      .x = x_TD.data_ptr(),
                                      .weight = weight_D.data_ptr(),
                                      .rstd = rstd_T.data_ptr<float>(),
                                      .dy = dy_TD.data_ptr(),
                                      .dx = dx_TD.data_ptr(),
                                      .dweight_parts = static_cast<float*>(data_or_null(dweight_PD)),
                                      .parts = parts};
  const CudaPlace place = place_of(kernels, x_TD);
  require_launched(kernels, kernels.rms_norm_backward(&place, &arguments), "rms_norm_backward");
  return {dx_TD, train_weight ? dweight_PD.sum(0).to(weight_D.scalar_type()) : Tensor()};
}

void rope_cuda_(const CudaKernels& kernels, const Tensor& q_THE, const Tensor& k_TKE, const Tensor& cos_TR, const Tensor& sin_TR,
                bool backward) {
  const int64_t tokens = q_THE.size(0), head_dim = q_THE.size(2), rotary = cos_TR.size(-1);
  const bool with_k = k_TKE.defined();
  TORCH_CHECK(rotary % 2 == 0 && rotary <= head_dim, "CUDA kernels: rope rotates ", rotary, " of ", head_dim, " channels");
  require_rows(q_THE, q_THE, {tokens, q_THE.size(1), head_dim}, "q");
  if (with_k) {
    require_rows(k_TKE, q_THE, {tokens, k_TKE.size(1), head_dim}, "k");
  }
  require_tensor(cos_TR, q_THE, {tokens, rotary}, "cos");
  require_tensor(sin_TR, q_THE, {tokens, rotary}, "sin");
  const CudaRope arguments{.dtype = dtype_of(q_THE),
                           .backward = backward,
                           .tokens = tokens,
                           .head_dim = head_dim,
                           .rotary = rotary,
                           .q = q_THE.data_ptr(),
                           .k = data_or_null(k_TKE),
                           .q_heads = q_THE.size(1),
                           .q_stride = q_THE.stride(0),
                           .k_heads = with_k ? k_TKE.size(1) : 0,
                           .k_stride = with_k ? k_TKE.stride(0) : 0,
                           .cos = cos_TR.data_ptr(),
                           .sin = sin_TR.data_ptr()};
  const CudaPlace place = place_of(kernels, q_THE);
  require_launched(kernels, kernels.rope(&place, &arguments), "rope");
}

Tensor gated_activation_cuda(const CudaKernels& kernels, Activation kind, const Tensor& gate_TF, const Tensor& up_TF) {
  require_gate_and_up(gate_TF, up_TF);
  Tensor product_TF = at::empty(gate_TF.sizes(), gate_TF.options());
  const CudaGated arguments{.dtype = dtype_of(gate_TF),
                            .kind = kind,
                            .rows = gate_TF.size(0),
                            .columns = gate_TF.size(1),
                            .gate = gate_TF.data_ptr(),
                            .up = up_TF.data_ptr(),
                            .gate_stride = gate_TF.stride(0),
                            .up_stride = up_TF.stride(0),
                            .product = product_TF.data_ptr()};
  const CudaPlace place = place_of(kernels, gate_TF);
  require_launched(kernels, kernels.gated(&place, &arguments), "gated");
  return product_TF;
}

GatedGradients gated_activation_backward_cuda(const CudaKernels& kernels, Activation kind, const Tensor& gate_TF, const Tensor& up_TF,
                                              const Tensor& dproduct_TF) {
  require_gate_and_up(gate_TF, up_TF);
  require_tensor(dproduct_TF, gate_TF, gate_TF.sizes(), "dproduct");
  GatedGradients result{at::empty(gate_TF.sizes(), gate_TF.options()), at::empty(up_TF.sizes(), up_TF.options())};
  const CudaGatedBackward arguments{.dtype = dtype_of(gate_TF),
                                    .kind = kind,
                                    .rows = gate_TF.size(0),
                                    .columns = gate_TF.size(1),
                                    .gate = gate_TF.data_ptr(),
                                    .up = up_TF.data_ptr(),
                                    .gate_stride = gate_TF.stride(0),
                                    .up_stride = up_TF.stride(0),
                                    .dproduct = dproduct_TF.data_ptr(),
                                    .dgate = result.dgate_TF.data_ptr(),
                                    .dup = result.dup_TF.data_ptr()};
  const CudaPlace place = place_of(kernels, gate_TF);
  require_launched(kernels, kernels.gated_backward(&place, &arguments), "gated_backward");
  return result;
}

Tensor cross_entropy_cuda_(const CudaKernels& kernels, const Tensor& logits_CV, const Tensor& labels_C, double scale) {
  TORCH_CHECK(logits_CV.dim() == 2, "CUDA kernels: logits have sizes ", logits_CV.sizes(), ", expected two dimensions");
  require_tensor(logits_CV, logits_CV, logits_CV.sizes(), "logits");
  require_side_tensor(labels_C, logits_CV, at::kLong, logits_CV.size(0), "labels");
  const Tensor losses_C = at::empty({logits_CV.size(0)}, logits_CV.options().dtype(at::kFloat));
  const CudaCrossEntropy arguments{.dtype = dtype_of(logits_CV),
                                   .scale = static_cast<float>(scale),
                                   .rows = logits_CV.size(0),
                                   .vocab = logits_CV.size(1),
                                   .logits = logits_CV.data_ptr(),
                                   .labels = labels_C.data_ptr<int64_t>(),
                                   .losses = losses_C.data_ptr<float>()};
  const CudaPlace place = place_of(kernels, logits_CV);
  require_launched(kernels, kernels.cross_entropy(&place, &arguments), "cross_entropy");
  return losses_C;
}

Tensor decode_cuda(const CudaKernels& kernels, const io::BlockCodes& codes, int64_t columns, const io::Tile& tile,
                   at::ScalarType value_dtype, at::ScalarType dtype) {
  CudaDecode arguments{};
  arguments.value_dtype = cuda_dtype(value_dtype);
  arguments.matrix = cuda_codes(codes, columns);
  return decode_tile(kernels, kernels.decode, "decode", arguments, codes.codes, tile, dtype);
}

Tensor decode_cuda(const CudaKernels& kernels, const GridCodes& codes, const io::Tile& tile, at::ScalarType dtype) {
  CudaDecodeGrid arguments{};
  arguments.value_dtype = dtype_of(codes.scales);
  arguments.row_bytes = codes.codes.size(1);
  arguments.bits = codes.bits;
  arguments.is_signed = codes.is_signed;
  arguments.block_rows = codes.block_rows;
  arguments.block_columns = codes.block_columns;
  arguments.scale_columns = codes.scales.size(1);
  arguments.codes = codes.codes.const_data_ptr();
  arguments.table = floats_or_null(codes.table);
  arguments.scales = codes.scales.const_data_ptr();
  arguments.zeros = codes.zeros.defined() ? codes.zeros.const_data_ptr() : nullptr;
  arguments.one_zero = codes.zeros.defined() && codes.zeros.numel() == 1;
  arguments.groups = codes.groups.defined() ? codes.groups.const_data_ptr<int32_t>() : nullptr;
  return decode_tile(kernels, kernels.decode_grid, "decode_grid", arguments, codes.codes, tile, dtype);
}

Tensor decode_cuda(const CudaKernels& kernels, const GgufCodes& codes, const io::Tile& tile, at::ScalarType dtype) {
  CudaDecodeGguf arguments{};
  arguments.format = codes.format;
  arguments.matrix_columns = codes.columns;
  arguments.blocks = codes.blocks.const_data_ptr();
  return decode_tile(kernels, kernels.decode_gguf, "decode_gguf", arguments, codes.blocks, tile, dtype);
}

Tensor multiply_codes_cuda(const CudaKernels& kernels, const io::BlockCodes& codes, int64_t outputs, const Tensor& x_TI) {
  TORCH_CHECK(x_TI.dim() == 2 && x_TI.size(0) <= kMostCodedTokens, "CUDA kernels: x has sizes ", x_TI.sizes(), ", expected up to ",
              kMostCodedTokens, " rows");
  const Tensor x = x_TI.contiguous();
  Tensor y_TO = at::empty({x.size(0), outputs}, x.options());
  const CudaMultiplyCodes arguments{.dtype = dtype_of(x),
                                    .matrix = cuda_codes(codes, x.size(1)),
                                    .outputs = outputs,
                                    .tokens = x.size(0),
                                    .x = x.const_data_ptr(),
                                    .y = y_TO.mutable_data_ptr()};
  const CudaPlace place = place_of(kernels, x);
  require_launched(kernels, kernels.multiply_codes(&place, &arguments), "multiply_codes");
  return y_TO;
}

Tensor dropout_cuda(const CudaKernels& kernels, const Tensor& x_TI, const DropoutDraw& draw) {
  TORCH_CHECK(x_TI.dim() == 2, "CUDA kernels: x has sizes ", x_TI.sizes(), ", expected two dimensions");
  require_tensor(x_TI, x_TI, x_TI.sizes(), "x");
  require_side_tensor(draw.row_keys_T, x_TI, at::kLong, x_TI.size(0), "row_keys");
  Tensor y_TI = at::empty_like(x_TI);
  const CudaDropout arguments{.dtype = dtype_of(x_TI),
                              .threshold = draw.threshold(),
                              .keep_scale = static_cast<float>(draw.keep_scale()),
                              .site_key = draw.site_key,
                              .rows = x_TI.size(0),
                              .channels = x_TI.size(1),
                              .row_keys = draw.row_keys_T.data_ptr<int64_t>(),
                              .x = x_TI.data_ptr(),
                              .y = y_TI.data_ptr()};
  const CudaPlace place = place_of(kernels, x_TI);
  require_launched(kernels, kernels.dropout(&place, &arguments), "dropout");
  return y_TI;
}

}  // namespace lora::ops

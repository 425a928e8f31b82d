#include "optim/stochastic_rounding.h"

#include <ATen/ATen.h>

#include <bit>
#include <cmath>

#include "lora/base/random.h"
#include "optim/pieces.h"
#include "optim/stored_moment.h"

namespace lora::optim {

namespace {

using at::Tensor;

/// bfloat16 has the upper 16 bits of a float32. Adding a random number below 2^16 to the bits and cutting off the lower half rounds away
/// from zero with the probability lower half / 2^16. One word of 64 bits serves four elements.
constexpr int64_t kElementsOfAWord = 4;
static_assert(kPieceSize % kElementsOfAWord == 0);

void round_piece(const float* values, at::BFloat16* result, int64_t begin, int64_t count, uint64_t key) {
  for (int64_t i = 0; i < count; i += kElementsOfAWord) {
    uint64_t word = mix64(key, static_cast<uint64_t>((begin + i) / kElementsOfAWord));
    for (int64_t j = i; j < std::min(i + kElementsOfAWord, count); ++j, word >>= 16) {
      const uint32_t bits = std::bit_cast<uint32_t>(values[j]) + static_cast<uint32_t>(word & 0xffff);
      result[j] = std::isfinite(values[j]) ? at::BFloat16(static_cast<uint16_t>(bits >> 16), at::BFloat16::from_bits())
                                           : at::BFloat16(values[j]);
    }
  }
}

Tensor shifted_right(const Tensor& words, int64_t count) {
  return words.__rshift__(count).bitwise_and_((int64_t{1} << (64 - count)) - 1);
}

/// mix64 (lora/base/random.h) of each element; int64 overflows as uint64 does.
Tensor mixed(const Tensor& words) {
  Tensor x = words + static_cast<int64_t>(0x9e3779b97f4a7c15ULL);
  x = x.bitwise_xor_(shifted_right(x, 30)).mul_(static_cast<int64_t>(0xbf58476d1ce4e5b9ULL));
  x = x.bitwise_xor_(shifted_right(x, 27)).mul_(static_cast<int64_t>(0x94d049bb133111ebULL));
  return x.bitwise_xor_(shifted_right(x, 31));
}

/// int64 [count], each in [0, 2^16)
Tensor random_halves(int64_t count, uint64_t key, const at::TensorOptions& options) {
  const Tensor places = at::arange((count + kElementsOfAWord - 1) / kElementsOfAWord, options.dtype(at::kLong));
  const Tensor words = mixed(mixed(places).bitwise_xor_(static_cast<int64_t>(key)));
  const Tensor shifts = at::arange(kElementsOfAWord, options.dtype(at::kLong)) * 16;
  return words.unsqueeze(1).__rshift__(shifts).bitwise_and_(0xffff).flatten().narrow(0, 0, count);
}

}  // namespace

void round_stochastically(const Tensor& values, const Tensor& result, uint64_t key) {
  if (!values.is_cpu()) {
    round_stochastically_by_operators(values, result, key);
    return;
  }
  const std::vector<TensorSlice> pieces = pieces_of({values});
  const float* const from = values.const_data_ptr<float>();
  at::BFloat16* const to = result.mutable_data_ptr<at::BFloat16>();
  for_each_piece(pieces, [&](size_t index) {
    const TensorSlice& piece = pieces[index];
    round_piece(from + piece.begin, to + piece.begin, piece.begin, piece.count, key);
  });
  mark_changed({result});
}

void round_stochastically_by_operators(const Tensor& values, const Tensor& result, uint64_t key) {
  const Tensor flat = in_memory_order(values);
  const Tensor bits = flat.view(at::kInt).to(at::kLong).add_(random_halves(flat.numel(), key, flat.options()));
  const Tensor rounded = bits.__rshift__(16).to(at::kShort).view(at::kBFloat16);
  in_memory_order(result).copy_(at::where(flat.isfinite(), rounded, flat.to(at::kBFloat16)));
}

}  // namespace lora::optim

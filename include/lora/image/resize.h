#pragma once
#include "lora/base/enum_table.h"
#include "lora/image/image.h"

namespace lora::image {

/// The filter that resampling weights the pixels of the source with.
enum class Interpolation { kLanczos, kBicubic, kBilinear };
inline constexpr EnumTable<Interpolation, 3> kInterpolations{
    {{{Interpolation::kLanczos, "lanczos"}, {Interpolation::kBicubic, "bicubic"}, {Interpolation::kBilinear, "bilinear"}}}};

/// The image at another size, with the bytes of `Image.resize` of Pillow 13 (src/libImaging/Resample.c): a horizontal pass and a vertical
/// one, each rounded to 8 bits, in fixed point with 22 fractional bits; the filter is widened by the factor of a reduction. The vertical
/// pass is the first where it removes more than twice as many rows as the other removes columns (earlier versions of Pillow never do
/// so). Both sides of `size` are at least 1.
Image resize(const Image& image, Size size, Interpolation interpolation);

}  // namespace lora::image

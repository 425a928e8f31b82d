// libpng leaves a call that fails by longjmp: the functions that call it here have no C++ objects in their frames.
#include <png.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstring>
#include <utility>

#include "image/byte_reader.h"
#include "image/png_chunks.h"

namespace lora::image {
namespace {

using namespace std::string_view_literals;

bool is_png(std::string_view bytes) {
  return bytes.starts_with("\x89PNG\r\n\x1a\n"sv);
}

Header read_png_header(const Source& source) {
  return read_png_chunks(source).header;
}

void add_number(std::string& bytes, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    bytes.push_back(static_cast<char>(value >> shift));
  }
}

/// A chunk whose checksum is not meant to be read.
void add_chunk(std::string& bytes, std::string_view name, std::string_view content) {
  add_number(bytes, static_cast<uint32_t>(content.size()));
  bytes.append(name).append(content);
  add_number(bytes, 0);
}

/// The file with only its compressed samples, for libpng: what else counts has been read from its chunks. Indices into a palette are
/// samples of a grey image.
std::string samples_only(const PngChunks& chunks) {
  std::string header;
  add_number(header, static_cast<uint32_t>(chunks.header.size.width));
  add_number(header, static_cast<uint32_t>(chunks.header.size.height));
  header.push_back(static_cast<char>(chunks.depth));
  header.push_back(static_cast<char>(chunks.color_type == 3 ? 0 : chunks.color_type));
  header.append("\0\0"sv).push_back(chunks.is_interlaced ? '\1' : '\0');
  std::string bytes("\x89PNG\r\n\x1a\n"sv);
  add_chunk(bytes, "IHDR", header);
  for (const std::string_view data : chunks.data) {
    add_chunk(bytes, "IDAT", data);
  }
  add_chunk(bytes, "IEND", "");
  return bytes;
}

/// libpng's state, without anything that needs a destructor.
struct PngReading {
  png_structp png = nullptr;
  png_infop info = nullptr;
  const char* next = nullptr;
  size_t left = 0;
  int64_t rows_left = 0;  ///< of all passes, that have not been decompressed
  std::jmp_buf failed;
  char message[200] = {};
};

[[noreturn]] void leave_png(png_structp png, const char* message) {
  auto* const reading = static_cast<PngReading*>(png_get_error_ptr(png));
  std::strncpy(reading->message, message, sizeof(reading->message) - 1);
  std::longjmp(reading->failed, 1);
}

void ignore_png_warning(png_structp, const char*) {}

void give(png_structp png, png_bytep target, size_t count) {
  auto* const reading = static_cast<PngReading*>(png_get_io_ptr(png));
  if (count > reading->left) {
    png_error(png, "the file ends");
  }
  std::memcpy(target, reading->next, count);
  reading->next += count;
  reading->left -= count;
}

void count_row(png_structp png, png_row_infop, png_bytep) {
  --static_cast<PngReading*>(png_get_user_transform_ptr(png))->rows_left;
}

/// All rows as they are stored, `stride` bytes each: samples of fewer than 8 bits in one byte each, of 16 bits with the high byte first.
/// As for Pillow, what is wrong after the last row is no failure.
bool read_png_rows(PngReading* reading, png_bytep samples, size_t stride, png_uint_32 num_rows) {
  if (setjmp(reading->failed) != 0) {
    return reading->rows_left == 0;
  }
  reading->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, reading, leave_png, ignore_png_warning);
  reading->info = reading->png != nullptr ? png_create_info_struct(reading->png) : nullptr;
  if (reading->info == nullptr) {
    return false;
  }
  png_set_read_fn(reading->png, reading, give);
  png_set_user_limits(reading->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  png_set_crc_action(reading->png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
  png_set_compression_buffer_size(reading->png, 65536);  // as Pillow's, on which it depends whether damage after the rows is found
  png_read_info(reading->png, reading->info);
  png_set_packing(reading->png);
  png_set_user_transform_info(reading->png, reading, 0, 0);
  png_set_read_user_transform_fn(reading->png, count_row);
  const int num_passes = png_set_interlace_handling(reading->png);
  png_read_update_info(reading->png, reading->info);
  if (png_get_rowbytes(reading->png, reading->info) != stride) {
    png_error(reading->png, "the rows have another size");
  }
  for (int pass = 0; pass < num_passes; ++pass) {
    for (png_uint_32 y = 0; y < num_rows; ++y) {
      png_read_row(reading->png, samples + y * stride, nullptr);
    }
  }
  return true;
}

/// Rows that are stored: those of the seven passes that have any column, if there are passes.
int64_t stored_rows(const PngChunks& chunks) {
  if (!chunks.is_interlaced) {
    return chunks.header.size.height;
  }
  int64_t rows = 0;
  for (int pass = 0; pass < PNG_INTERLACE_ADAM7_PASSES; ++pass) {
    const auto width = static_cast<png_uint_32>(chunks.header.size.width);
    const auto height = static_cast<png_uint_32>(chunks.header.size.height);
    rows += PNG_PASS_COLS(width, pass) > 0 ? static_cast<int64_t>(PNG_PASS_ROWS(height, pass)) : 0;
  }
  return rows;
}

std::vector<uint8_t> read_samples(const Source& source, const PngChunks& chunks) {
  const std::string bytes = samples_only(chunks);
  const Size size = chunks.header.size;
  const auto stride = static_cast<size_t>(size.width * chunks.num_samples() * (chunks.depth == 16 ? 2 : 1));
  std::vector<uint8_t> samples(stride * static_cast<size_t>(size.height));
  PngReading reading;
  reading.next = bytes.data();
  reading.left = bytes.size();
  reading.rows_left = stored_rows(chunks);
  const bool is_read = read_png_rows(&reading, samples.data(), stride, static_cast<png_uint_32>(size.height));
  png_destroy_read_struct(&reading.png, &reading.info, nullptr);
  if (!is_read) {
    source.fail("the PNG file is truncated or damaged: its image data cannot be decoded (libpng: " + std::string(reading.message) + ")");
  }
  return samples;
}

/// RGBA of a palette's colours; an index beyond it is black.
std::array<std::array<uint8_t, 4>, 256> colors_of(const PngChunks& chunks) {
  std::array<std::array<uint8_t, 4>, 256> colors{};
  const std::string_view alpha = chunks.transparency.value_or(std::string_view());
  for (size_t i = 0; i < colors.size(); ++i) {
    if (i < chunks.palette.size() / 3) {
      std::copy_n(chunks.palette.begin() + static_cast<std::ptrdiff_t>(i * 3), 3, colors[i].begin());
    }
    colors[i][3] = i < alpha.size() ? static_cast<uint8_t>(alpha[i]) : 255;
  }
  return colors;
}

/// Makes RGB or RGBA of samples as they are stored.
class PngColors {
 public:
  PngColors(const PngChunks& chunks, const std::vector<uint8_t>& samples) : chunks_(chunks), samples_(samples) {
    pixels_.has_alpha = chunks.color_type >= 4 || chunks.transparency.has_value();
    if (chunks.depth == 16 && chunks.color_type == 0) {
      note_clipped();
    }
    const auto count = static_cast<size_t>(chunks.header.size.pixels());
    pixels_.samples.reserve(count * (pixels_.has_alpha ? 4 : 3));
    chunks.color_type == 3 ? add_indexed() : add_all(count);
  }

  Pixels take() { return std::move(pixels_); }

 private:
  void add(const uint8_t* rgb, uint8_t alpha) {
    pixels_.samples.insert(pixels_.samples.end(), rgb, rgb + 3);
    if (pixels_.has_alpha) {
      pixels_.samples.push_back(alpha);
    }
  }

  void add_indexed() {
    const auto colors = colors_of(chunks_);
    for (const uint8_t index : samples_) {
      add(colors[index].data(), colors[index][3]);
    }
  }

  void add_all(size_t count) {
    const auto per_pixel = static_cast<size_t>(chunks_.num_samples());
    const bool is_grey = chunks_.color_type == 0 || chunks_.color_type == 4;
    for (size_t i = 0; i < count; ++i) {
      const size_t first = i * per_pixel;
      const std::array<uint8_t, 3> rgb{level(first), level(is_grey ? first : first + 1), level(is_grey ? first : first + 2)};
      const bool has_channel = chunks_.color_type >= 4;
      add(rgb.data(), has_channel ? level(first + per_pixel - 1) : is_transparent(first, per_pixel) ? 0 : 255);
    }
  }

  uint32_t stored(size_t sample) const {
    return chunks_.depth < 16 ? samples_[sample] : static_cast<uint32_t>(samples_[sample * 2]) << 8 | samples_[sample * 2 + 1];
  }

  /// A sample in 8 bits, as Pillow: grey of 16 bits is clipped, other samples of 16 bits lose their low byte.
  uint8_t level(size_t sample) const {
    if (chunks_.depth == 16) {
      return static_cast<uint8_t>(chunks_.color_type == 0 ? std::min(stored(sample), 255U) : stored(sample) >> 8);
    }
    return static_cast<uint8_t>(stored(sample) * (255U / ((1U << chunks_.depth) - 1)));
  }

  /// Whether a pixel has the one colour that tRNS makes transparent.
  bool is_transparent(size_t first, size_t per_pixel) const {
    if (!chunks_.transparency) {
      return false;
    }
    for (size_t i = 0; i < per_pixel; ++i) {
      if (stored(first + i) != big_16(*chunks_.transparency, i * 2)) {
        return false;
      }
    }
    return true;
  }

  void note_clipped() {
    for (size_t i = 0; i < samples_.size(); i += 2) {
      if (samples_[i] != 0) {
        pixels_.warnings.emplace_back("grey levels of 16 bits above 255 become white, as in Pillow. Convert the image to 8 bits.");
        return;
      }
    }
  }

  const PngChunks& chunks_;
  const std::vector<uint8_t>& samples_;
  Pixels pixels_;
};

Pixels read_png_pixels(const Source& source, const Header&) {
  const PngChunks chunks = read_png_chunks(source);
  Pixels pixels = PngColors(chunks, read_samples(source, chunks)).take();
  if (chunks.is_animated) {
    pixels.warnings.emplace_back("only the first frame of the animation is used");
  }
  return pixels;
}

}  // namespace

const Codec kPngCodec{"PNG", is_png, read_png_header, read_png_pixels};

}  // namespace lora::image

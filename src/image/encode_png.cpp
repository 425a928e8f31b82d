// libpng leaves a call that fails by longjmp: the function that calls it here has no C++ objects in its frame.
#include "lora/image/encode_png.h"

#include <png.h>

#include <csetjmp>
#include <new>

#include "lora/base/error.h"

namespace lora::image {
namespace {

struct PngWriting {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::string* bytes = nullptr;
  std::jmp_buf failed;
};

[[noreturn]] void leave_writing(png_structp png, const char*) {
  std::longjmp(static_cast<PngWriting*>(png_get_error_ptr(png))->failed, 1);
}

void ignore_writing_warning(png_structp, const char*) {}

bool append(std::string& bytes, const char* more, size_t count) noexcept {
  try {
    bytes.append(more, count);
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

void take_bytes(png_structp png, png_bytep more, size_t count) {
  if (!append(*static_cast<PngWriting*>(png_get_io_ptr(png))->bytes, reinterpret_cast<const char*>(more), count)) {
    png_error(png, "there is not enough memory");
  }
}

void keep_bytes(png_structp) {}

bool write_rows(PngWriting* writing, const uint8_t* rgb, png_uint_32 width, png_uint_32 height) {
  if (setjmp(writing->failed) != 0) {
    return false;
  }
  writing->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, writing, leave_writing, ignore_writing_warning);
  writing->info = writing->png != nullptr ? png_create_info_struct(writing->png) : nullptr;
  if (writing->info == nullptr) {
    return false;
  }
  png_set_write_fn(writing->png, writing, take_bytes, keep_bytes);
  png_set_IHDR(writing->png, writing->info, width, height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  png_write_info(writing->png, writing->info);
  for (png_uint_32 y = 0; y < height; ++y) {
    png_write_row(writing->png, rgb + static_cast<size_t>(y) * width * 3);
  }
  png_write_end(writing->png, writing->info);
  return true;
}

}  // namespace

std::string encode_png(const Image& image) {
  std::string bytes;
  PngWriting writing;
  writing.bytes = &bytes;
  const bool is_written =
      write_rows(&writing, image.rgb.data(), static_cast<png_uint_32>(image.size.width), static_cast<png_uint_32>(image.size.height));
  png_destroy_write_struct(&writing.png, &writing.info);
  if (!is_written) {
    throw Error(ErrorKind::kUnforeseen, "PNG", "an image of " + image.size.text() + " cannot be encoded");
  }
  return bytes;
}

}  // namespace lora::image

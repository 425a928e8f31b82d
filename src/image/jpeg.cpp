// libjpeg leaves a call that fails by longjmp: the functions that call it here have no C++ objects in their frames.
#include <csetjmp>
#include <cstdio>
// jpeglib.h needs the declarations of <cstdio>.
#include <jpeglib.h>

#include <jerror.h>

#include <utility>

#include "image/byte_reader.h"
#include "image/codec.h"
#include "image/orientation.h"

namespace lora::image {
namespace {

using namespace std::string_view_literals;

bool is_jpeg(std::string_view bytes) {
  return bytes.starts_with("\xff\xd8\xff"sv);
}

/// The segments of a file up to its first scan, by the rules of Pillow's JpegImagePlugin.
class Segments {
 public:
  explicit Segments(const Source& source) : source_(source), bytes_(source.bytes) {}

  /// Reads them all; `components()` and `header()` are valid afterwards.
  void read() {
    for (int marker = 0; marker != kStartOfScan;) {
      marker = next_marker();
      const bool has_content = marker != 0xC8 && !(marker >= 0xD0 && marker <= 0xD9) && !(marker >= 0xF0 && marker <= 0xFD);
      if (has_content) {
        take(marker, next_segment());
      }
    }
    if (components_ == 0) {
      source_.fail("the JPEG file is damaged: it has no frame header before the image");
    }
    const std::optional<int> orientation = orientation_of(metadata_);
    header_.orientation = orientation.value_or(1);
    if (!orientation) {  // an error in files of other kinds, as Pillow has it
      header_.warnings.emplace_back("the EXIF metadata, which holds the image's orientation, is damaged and not used");
    }
  }

  const Header& header() const { return header_; }
  int components() const { return components_; }

 private:
  static constexpr int kStartOfScan = 0xDA;

  /// The second byte of the next marker.
  int next_marker() {
    bool after_ff = position_ == 3;  // the file begins with FF D8 FF
    while (position_ < bytes_.size()) {
      const int byte = static_cast<uint8_t>(bytes_[position_++]);
      if (!after_ff || byte == 0xFF) {
        after_ff = byte == 0xFF;
        continue;
      }
      if (byte >= 0xC0) {
        return byte;
      }
      if (byte != 0) {
        source_.fail("the JPEG file is damaged: found the byte " + std::to_string(byte) + " at " + std::to_string(position_ - 1) +
                     ", expected a marker");
      }
      after_ff = false;
    }
    source_.fail("the JPEG file is truncated or damaged: it ends before the image");
  }

  std::string_view next_segment() {
    const size_t left = bytes_.size() - position_;
    const size_t size = left >= 2 ? big_16(bytes_, position_) : 0;
    if (left < 2 || size > left) {
      source_.fail("the JPEG file is truncated in its header");
    }
    const std::string_view content = bytes_.substr(position_ + 2, size > 2 ? size - 2 : 0);
    position_ += 2 + content.size();
    return content;
  }

  void take(int marker, std::string_view content) {
    const bool is_frame = (marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xCC) || marker == 0xDE;
    if (is_frame) {
      take_frame(content);
    } else if (marker == 0xE1 && content.starts_with("Exif\0\0"sv)) {
      metadata_.exif = metadata_.exif ? *metadata_.exif + std::string(content.substr(6)) : std::string(content);
    } else if (marker == 0xE1 && content.starts_with("http://ns.adobe.com/xap/1.0/\0"sv)) {
      metadata_.xmp = content.substr(29);
    }
    const bool is_short = (marker == 0xE0 && content.starts_with("JFIF") && content.size() < 7) ||
                          (marker == 0xEE && content.starts_with("Adobe") && content.size() < 7);
    if (is_short) {
      source_.fail("the JPEG file is damaged: a segment of its header is too short");
    }
  }

  void take_frame(std::string_view content) {
    if (content.size() < 6 || (content.size() - 6) % 3 != 0) {
      source_.fail("the JPEG file is damaged: its frame header has " + std::to_string(content.size()) + " bytes");
    }
    const int bits = static_cast<uint8_t>(content[0]);
    components_ = static_cast<uint8_t>(content[5]);
    header_.size = {big_16(content, 3), big_16(content, 1)};
    if (bits != 8 || (components_ != 1 && components_ != 3 && components_ != 4)) {
      source_.fail("the JPEG file has " + std::to_string(components_) + " channels of " + std::to_string(bits) +
                   " bits: expected 1, 3 or 4 of 8 bits");
    }
  }

  const Source& source_;
  std::string_view bytes_;
  size_t position_ = 3;
  int components_ = 0;
  Header header_;
  Metadata metadata_;
};

Header read_jpeg_header(const Source& source) {
  Segments segments(source);
  segments.read();
  return segments.header();
}

/// libjpeg's state, without anything that needs a destructor.
struct Decompressor {
  jpeg_decompress_struct info;
  jpeg_error_mgr errors;
  jpeg_source_mgr input;
  std::jmp_buf failed;
  char message[JMSG_LENGTH_MAX];  ///< of the error, else of the first warning
};

Decompressor& of(j_common_ptr info) {
  return *static_cast<Decompressor*>(info->client_data);
}

[[noreturn]] void leave(j_common_ptr info) {
  info->err->format_message(info, of(info).message);
  std::longjmp(of(info).failed, 1);
}

void keep_first_warning(j_common_ptr info, int level) {
  if (level < 0 && info->err->num_warnings++ == 0) {
    info->err->format_message(info, of(info).message);
  }
}

void ignore_message(j_common_ptr) {}
void do_nothing(j_decompress_ptr) {}

/// The whole file has been given: to want more is to be truncated.
boolean has_no_more(j_decompress_ptr) {
  return FALSE;
}

void skip(j_decompress_ptr info, long count) {
  const size_t step = std::min(info->src->bytes_in_buffer, static_cast<size_t>(std::max(count, 0L)));
  info->src->next_input_byte += step;
  info->src->bytes_in_buffer -= step;
}

enum class Outcome { kDone, kTruncated, kFailed };

/// Up to the first row. Without any buffering of ours: of a progressive file all scans are read.
Outcome start(Decompressor* decompressor, const unsigned char* bytes, size_t size, J_COLOR_SPACE colors) {
  jpeg_decompress_struct* const info = &decompressor->info;
  info->err = jpeg_std_error(&decompressor->errors);
  info->client_data = decompressor;
  decompressor->errors.error_exit = leave;
  decompressor->errors.emit_message = keep_first_warning;
  decompressor->errors.output_message = ignore_message;
  if (setjmp(decompressor->failed) != 0) {
    return Outcome::kFailed;
  }
  jpeg_create_decompress(info);
  decompressor->input = {bytes, size, do_nothing, has_no_more, skip, jpeg_resync_to_restart, do_nothing};
  info->src = &decompressor->input;
  int found = JPEG_HEADER_TABLES_ONLY;
  while (found == JPEG_HEADER_TABLES_ONLY) {
    found = jpeg_read_header(info, FALSE);
  }
  if (found == JPEG_SUSPENDED) {
    return Outcome::kTruncated;
  }
  info->out_color_space = colors;
  return jpeg_start_decompress(info) != FALSE ? Outcome::kDone : Outcome::kTruncated;
}

/// All rows, `stride` bytes each. What follows the last row may be missing.
Outcome read_rows(Decompressor* decompressor, unsigned char* samples, size_t stride, unsigned int num_rows) {
  jpeg_decompress_struct* const info = &decompressor->info;
  if (setjmp(decompressor->failed) != 0) {
    return Outcome::kFailed;
  }
  while (info->output_scanline < num_rows) {
    JSAMPROW row = samples + info->output_scanline * stride;
    if (jpeg_read_scanlines(info, &row, 1) != 1) {
      return Outcome::kTruncated;
    }
  }
  jpeg_finish_decompress(info);
  return Outcome::kDone;
}

/// RGB of inverted CMYK (as Adobe's programs store it), by Pillow's formula, which knows no profiles.
std::vector<uint8_t> rgb_of_cmyk(const std::vector<uint8_t>& samples) {
  std::vector<uint8_t> rgb(samples.size() / 4 * 3);
  for (size_t i = 0; i < samples.size() / 4; ++i) {
    const int light = samples[i * 4 + 3];
    for (size_t channel = 0; channel < 3; ++channel) {
      const int product = (255 - samples[i * 4 + channel]) * light + 128;
      rgb[i * 3 + channel] = static_cast<uint8_t>(light - (((product >> 8) + product) >> 8));
    }
  }
  return rgb;
}

/// Reads samples with `channels` a pixel.
class JpegReader {
 public:
  explicit JpegReader(const Source& source) : source_(source) {}
  ~JpegReader() {
    if (decompressor_.info.mem != nullptr) {
      jpeg_destroy_decompress(&decompressor_.info);
    }
  }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  std::vector<uint8_t> read(Size size, int channels) {
    const J_COLOR_SPACE colors = channels == 1 ? JCS_GRAYSCALE : channels == 3 ? JCS_RGB : JCS_CMYK;
    const auto* const bytes = reinterpret_cast<const unsigned char*>(source_.bytes.data());
    require(start(&decompressor_, bytes, source_.bytes.size(), colors));
    const jpeg_decompress_struct& info = decompressor_.info;
    if (info.output_width != size.width || info.output_height != size.height || info.output_components != channels) {
      source_.fail("the JPEG file is damaged: it has several frame headers");
    }
    std::vector<uint8_t> samples(static_cast<size_t>(size.pixels() * channels));
    require(read_rows(&decompressor_, samples.data(), static_cast<size_t>(size.width * channels), info.output_height));
    return samples;
  }

  std::vector<std::string> warnings() const {
    const bool has_any = decompressor_.errors.num_warnings > 0;
    return has_any ? std::vector{"the image is damaged, and what can be decoded is used (libjpeg: " + text() + ")"}
                   : std::vector<std::string>();
  }

 private:
  std::string text() const { return decompressor_.message; }

  void require(Outcome outcome) const {
    if (outcome == Outcome::kTruncated) {
      source_.fail("the JPEG file is truncated: it ends within the image");
    }
    if (outcome == Outcome::kFailed) {
      source_.fail("the JPEG file cannot be decoded (libjpeg: " + text() + ")");
    }
  }

  const Source& source_;
  Decompressor decompressor_{};
};

Pixels read_jpeg_pixels(const Source& source, const Header& header) {
  Segments segments(source);
  segments.read();
  JpegReader reader(source);
  std::vector<uint8_t> samples = reader.read(header.size, segments.components());
  Pixels pixels;
  pixels.samples = segments.components() == 1   ? rgb_of_grey(samples)
                   : segments.components() == 4 ? rgb_of_cmyk(samples)
                                                : std::move(samples);
  pixels.warnings = reader.warnings();
  return pixels;
}

}  // namespace

const Codec kJpegCodec{"JPEG", is_jpeg, read_jpeg_header, read_jpeg_pixels};

}  // namespace lora::image

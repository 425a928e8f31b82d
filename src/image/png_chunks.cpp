#include "image/png_chunks.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "image/byte_reader.h"
#include "image/orientation.h"

namespace lora::image {
namespace {

using namespace std::string_view_literals;

/// The shortest content that a chunk may have.
struct ShortestChunk {
  std::string_view name;
  size_t bytes;
};
constexpr std::array<ShortestChunk, 7> kShortestChunks{
    {{"IHDR", 13}, {"gAMA", 4}, {"cHRM", 32}, {"sRGB", 1}, {"pHYs", 9}, {"acTL", 8}, {"fcTL", 26}}};

/// The pairs of depth and colour type that exist.
bool is_known(int depth, int color_type) {
  switch (color_type) {
    case 0:
      return depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16;
    case 3:
      return depth == 1 || depth == 2 || depth == 4 || depth == 8;
    case 2:
    case 4:
    case 6:
      return depth == 8 || depth == 16;
    default:
      return false;
  }
}

class ChunkWalker {
 public:
  explicit ChunkWalker(const Source& source) : source_(source), bytes_(source.bytes) {}

  PngChunks walk() {
    while (read_chunk_before_data()) {
    }
    while (read_data_chunk()) {
    }
    while (read_chunk_after_data()) {
    }
    chunks_.header.orientation = require_orientation(metadata_, source_);
    return std::move(chunks_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { source_.fail("the PNG file is truncated or damaged: " + what); }

  /// Reads name and size of the next chunk; false at the end of the file or where there is no name.
  bool read_start() {
    if (bytes_.size() - position_ < 8) {
      return false;
    }
    size_ = big_32(bytes_, position_);
    name_ = bytes_.substr(position_ + 4, 4);
    const auto is_letter = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
    if (!std::all_of(name_.begin(), name_.end(), is_letter)) {
      return false;
    }
    position_ += 8;
    return true;
  }

  std::string_view content() {
    if (size_ > bytes_.size() - position_) {
      fail("it ends within the chunk " + std::string(name_));
    }
    position_ += size_;
    return bytes_.substr(position_ - size_, size_);
  }

  /// False at the first IDAT chunk.
  bool read_chunk_before_data() {
    if (!read_start()) {
      fail("it ends before the image data");
    }
    if (name_ == "IDAT") {
      require_header();
      return false;
    }
    if (name_ == "IEND" || name_ == "fdAT") {
      fail("it has no image data before the chunk " + std::string(name_));
    }
    const std::string_view read = content();
    take(read, /*before_data=*/true);
    const auto* const start = reinterpret_cast<const Bytef*>(read.data()) - 4;  // the checksum includes the name
    if (bytes_.size() - position_ < 4 || crc32(0, start, static_cast<uInt>(read.size() + 4)) != big_32(bytes_, position_)) {
      fail("the checksum of the chunk " + std::string(name_) + " is wrong");
    }
    position_ += 4;
    return true;
  }

  void require_header() const {
    if (!is_known(chunks_.depth, chunks_.color_type)) {
      fail("found colour type " + std::to_string(chunks_.color_type) + " with " + std::to_string(chunks_.depth) +
           " bits, which does not exist");
    }
    if (chunks_.palette.size() / 3 > 256) {
      fail("found a palette of " + std::to_string(chunks_.palette.size() / 3) + " colours, expected at most 256");
    }
  }

  /// Takes the IDAT chunk whose start has been read, as far as it goes; false if the next chunk is another one.
  bool read_data_chunk() {
    const size_t available = std::min<size_t>(size_, bytes_.size() - position_);
    chunks_.data.push_back(bytes_.substr(position_, available));
    position_ += available;
    position_ += std::min<size_t>(4, bytes_.size() - position_);
    is_at_chunk_ = read_start();
    return is_at_chunk_ && name_ == "IDAT";
  }

  /// Handles the chunk whose start has been read; false at the end.
  bool read_chunk_after_data() {
    if (!is_at_chunk_ || name_ == "IEND" || (name_ == "fcTL" && chunks_.is_animated)) {
      return false;
    }
    take(content(), /*before_data=*/false);
    position_ += std::min<size_t>(4, bytes_.size() - position_);
    is_at_chunk_ = read_start();
    return true;
  }

  void take(std::string_view read, bool before_data) {
    const auto* const shortest =
        std::find_if(kShortestChunks.begin(), kShortestChunks.end(), [this](const ShortestChunk& entry) { return entry.name == name_; });
    if (shortest != kShortestChunks.end() && read.size() < shortest->bytes) {
      fail("the chunk " + std::string(name_) + " has " + std::to_string(read.size()) + " bytes");
    }
    if (name_ == "eXIf") {
      metadata_.exif = std::string(read);
    } else if (name_ == "iTXt" && read.starts_with("XML:com.adobe.xmp\0\0"sv)) {  // of which the second 0 says uncompressed
      const size_t language = read.find('\0', 20);
      const size_t translation = language < read.size() ? read.find('\0', language + 1) : std::string_view::npos;
      metadata_.xmp = translation < read.size() ? read.substr(translation + 1) : std::string_view();
    } else if (name_ == "acTL" && big_32(read, 0) > 0) {
      chunks_.is_animated = true;
    } else if (before_data && name_ == "IHDR") {
      take_header(read);
    } else if (before_data && name_ == "PLTE" && chunks_.color_type == 3) {
      chunks_.palette = read;
    } else if (before_data && name_ == "tRNS") {
      take_transparency(read);
    } else if (before_data && name_ == "fcTL") {
      take_frame(read);
    }
  }

  void take_header(std::string_view read) {
    chunks_.header.size = {big_32(read, 0), big_32(read, 4)};
    chunks_.depth = static_cast<uint8_t>(read[8]);
    chunks_.color_type = static_cast<uint8_t>(read[9]);
    chunks_.is_interlaced = read[12] != 0;
    if (read[11] != 0) {
      fail("its filter method is unknown");
    }
  }

  void take_transparency(std::string_view read) {
    const size_t needed = chunks_.color_type == 0 ? 2 : chunks_.color_type == 2 ? 6 : 0;
    if (read.size() < needed) {
      fail("the chunk tRNS has " + std::to_string(read.size()) + " bytes, expected " + std::to_string(needed));
    }
    if (needed > 0 || chunks_.color_type == 3) {
      chunks_.transparency = read;
    }
  }

  /// An animation's first frame must be the whole image.
  void take_frame(std::string_view read) const {
    const Size size{big_32(read, 4), big_32(read, 8)};
    if (size != chunks_.header.size || big_32(read, 12) != 0 || big_32(read, 16) != 0) {
      fail("its first frame is not the whole image");
    }
  }

  const Source& source_;
  std::string_view bytes_;
  size_t position_ = 8;
  std::string_view name_;  // of the chunk that was started
  size_t size_ = 0;
  bool is_at_chunk_ = false;
  PngChunks chunks_;
  Metadata metadata_;
};

}  // namespace

int PngChunks::num_samples() const {
  return color_type == 2 ? 3 : color_type == 4 ? 2 : color_type == 6 ? 4 : 1;
}

PngChunks read_png_chunks(const Source& source) {
  return ChunkWalker(source).walk();
}

}  // namespace lora::image

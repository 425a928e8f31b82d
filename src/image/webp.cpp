#include <webp/decode.h>
#include <webp/demux.h>

#include <memory>

#include "image/codec.h"
#include "image/orientation.h"

namespace lora::image {
namespace {

bool is_webp(std::string_view bytes) {
  if (bytes.size() < 16 || !bytes.starts_with("RIFF") || bytes.substr(8, 4) != "WEBP") {
    return false;
  }
  const std::string_view kind = bytes.substr(12, 4);
  return kind == "VP8 " || kind == "VP8L" || kind == "VP8X";
}

WebPData data_of(const Source& source) {
  return {reinterpret_cast<const uint8_t*>(source.bytes.data()), source.bytes.size()};
}

std::string_view chunk(const WebPDemuxer* demuxer, const char* name) {
  WebPChunkIterator found;
  std::string_view content;
  if (WebPDemuxGetChunk(demuxer, name, 1, &found) != 0) {
    content = {reinterpret_cast<const char*>(found.chunk.bytes), found.chunk.size};
  }
  WebPDemuxReleaseChunkIterator(&found);  // the bytes are the file's
  return content;
}

Header read_webp_header(const Source& source) {
  const WebPData data = data_of(source);
  const std::unique_ptr<WebPDemuxer, void (*)(WebPDemuxer*)> demuxer(WebPDemux(&data), WebPDemuxDelete);
  if (!demuxer) {
    source.fail("the WebP file is truncated or damaged");
  }
  Metadata metadata;
  const std::string_view exif = chunk(demuxer.get(), "EXIF");
  if (!exif.empty()) {
    metadata.exif = std::string(exif);
  }
  metadata.xmp = chunk(demuxer.get(), "XMP ");
  Header header;
  header.size = {WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_WIDTH), WebPDemuxGetI(demuxer.get(), WEBP_FF_CANVAS_HEIGHT)};
  header.orientation = require_orientation(metadata, source);
  return header;
}

/// The first frame on its canvas, as Pillow shows it.
Pixels read_webp_pixels(const Source& source, const Header& header) {
  const WebPData data = data_of(source);
  WebPAnimDecoderOptions options;
  WebPAnimDecoderOptionsInit(&options);
  options.color_mode = MODE_RGBA;
  const std::unique_ptr<WebPAnimDecoder, void (*)(WebPAnimDecoder*)> decoder(WebPAnimDecoderNew(&data, &options), WebPAnimDecoderDelete);
  uint8_t* rgba = nullptr;
  int time = 0;
  if (!decoder || WebPAnimDecoderGetNext(decoder.get(), &rgba, &time) == 0) {
    source.fail("the WebP file is truncated or damaged: its image cannot be decoded");
  }
  WebPBitstreamFeatures features;
  const bool is_known = WebPGetFeatures(data.bytes, data.size, &features) == VP8_STATUS_OK;
  Pixels pixels;
  pixels.has_alpha = !is_known || features.has_alpha != 0;
  const auto count = static_cast<size_t>(header.size.pixels());
  if (pixels.has_alpha) {
    pixels.samples.assign(rgba, rgba + count * 4);
  } else {
    pixels.samples.reserve(count * 3);
    for (size_t i = 0; i < count; ++i) {
      pixels.samples.insert(pixels.samples.end(), rgba + i * 4, rgba + i * 4 + 3);
    }
  }
  WebPAnimInfo info;
  if (WebPAnimDecoderGetInfo(decoder.get(), &info) != 0 && info.frame_count > 1) {
    pixels.warnings.push_back("only the first of " + std::to_string(info.frame_count) + " frames is used");
  }
  return pixels;
}

}  // namespace

const Codec kWebpCodec{"WebP", is_webp, read_webp_header, read_webp_pixels};

}  // namespace lora::image

#include "lora/data/image_survey.h"

#include <algorithm>

#include "data/image_rows.h"
#include "lora/base/file.h"
#include "lora/base/input_file.h"
#include "lora/base/interrupt.h"
#include "lora/image/decode.h"

namespace lora::data {

ImageSurvey survey_images(const std::string& path, int64_t side, const std::string& where) {
  SourceOptions source;
  source.path = path;
  source.format = RowFormat::kImages;
  const ImageRecords records = read_image_sources(where, {source});
  ImageSurvey survey;
  survey.num_images = static_cast<int64_t>(records.all.size());
  const image::Limits limits;
  for (const ImageRecord& record : records.all) {
    throw_if_interrupted();
    const std::string bytes = read_file(record.file, ErrorKind::kData, InputLimits{limits.bytes, false});
    const image::Size size = image::size_of(bytes, record.file, limits);
    const int64_t small = std::min(size.width, size.height), large = std::max(size.width, size.height);
    survey.smallest_side = survey.smallest_side == 0 ? small : std::min(survey.smallest_side, small);
    survey.largest_side = std::max(survey.largest_side, large);
    survey.num_small += size.width * size.height < side * side ? 1 : 0;
    survey.num_long += 10 * (large - small) > large ? 1 : 0;
    survey.without_caption += record.captions.empty() ? 1 : 0;
  }
  return survey;
}

}  // namespace lora::data

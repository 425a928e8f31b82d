#pragma once
#include <filesystem>

#include "data/formats.h"
#include "lora/data/dataset.h"
#include "lora/nn/batch.h"

namespace lora::data {

/// The row of an image whose tensors lie in these files (see ImageRow): everything that their headers say, and the few numbers among them.
/// Throws data Error naming the file for a tensor that is missing, of another shape or dtype, or has a name that no tensor of an image has.
ImageRow read_image_row(const std::filesystem::path& image_file, const std::filesystem::path& text_file);

/// A row of the tensors of an image: {"file_name": a safetensors file, relative to the file of the rows, optional "text" and "prior"}.
EncodedContent encode_diffusion_tensors(const Fields& fields, const FormatContext& context);

/// Throws data Error naming `where` for an image that differs from the first of its set in more than its size: a network can take only one
/// of the two.
void require_like_image(const ImageRow& first, const std::string& where_first, const ImageRow& image, const std::string& where);

/// The files that images consist of, each once, with their hashes.
std::vector<SourceFile> files_of(const std::vector<Example>& images);

/// The tensors of these examples, which must be images of one size. Throws data Error naming the file for values that are not finite, and
/// for a file that has changed since it was first read.
nn::LatentImages images_of(const Dataset& dataset, const std::vector<int64_t>& indices);

}  // namespace lora::data

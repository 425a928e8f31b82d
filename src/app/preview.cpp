#include "app/preview.h"

#include <algorithm>
#include <set>

#include "app/image_pipeline.h"
#include "app/inspect_tensors.h"
#include "app/pipeline_base.h"
#include "app/text_table.h"
#include "lora/base/counted.h"
#include "lora/base/terminal.h"
#include "lora/base/text.h"
#include "lora/io/tensor_facts.h"
#include "lora/nn/batch.h"

namespace lora::app {

namespace {

std::string text_of(const std::vector<int32_t>& ids, const tokenizer::Tokenizer* tokenizer) {
  if (tokenizer != nullptr) {
    return terminal::visible(tokenizer->decode(ids, /*show_special=*/true));
  }
  std::string text;
  for (const int32_t id : ids) {
    text += (text.empty() ? "" : " ") + std::to_string(id);
  }
  return text;
}

std::string marked(const std::string& text, bool supervised, bool colour) {
  if (colour) {
    return (supervised ? "\033[32m" : "\033[2m") + text + "\033[0m";
  }
  return supervised ? "⟦" + text + "⟧" : text;
}

/// A document's text with its supervised tokens marked. The first token is never supervised, because nothing comes before it.
std::string marked_document(const data::Example& example, size_t document, const tokenizer::Tokenizer* tokenizer, bool colour) {
  std::string text;
  const std::vector<int32_t>& ids = example.ids(document);
  const auto supervised = [&](size_t i) { return i > 0 && example.label(i, document) != nn::kIgnoreLabel; };
  for (size_t begin = 0; begin < ids.size();) {
    size_t end = begin + 1;
    while (end < ids.size() && supervised(end) == supervised(begin)) {
      ++end;
    }
    const std::vector<int32_t> run(ids.begin() + static_cast<std::ptrdiff_t>(begin), ids.begin() + static_cast<std::ptrdiff_t>(end));
    text += (text.empty() || tokenizer != nullptr ? "" : " ") + marked(text_of(run, tokenizer), supervised(begin), colour);
    begin = end;
  }
  return text;
}

/// The class's name, or its number if it has none; a value as it is.
std::string label_text(const data::Example& example, const data::Dataset& dataset, const data::LabelSet* labels) {
  if (!dataset.has_classes()) {
    return Json(*example.target()).dump();
  }
  const auto number = static_cast<int64_t>(*example.target());
  const bool has_name = labels != nullptr && number < labels->num_labels();
  return has_name ? printable(labels->names[static_cast<size_t>(number)]) : std::to_string(number);
}

std::string sample_facts(const data::Example& example, const data::Dataset& dataset, const data::LabelSet* labels) {
  return counted(example.num_tokens(), "token") + ", " +
         (example.has_target() ? "label " + label_text(example, dataset, labels)
                               : std::to_string(example.num_supervised()) + " supervised");
}

std::string dense_sample(const data::Example& example, const data::Dataset& dataset, const data::LabelSet* labels) {
  const data::FeatureRow& row = *example.features();
  const std::string target =
      !example.has_target() ? ""
                            : ", target " + (row.values() == nullptr ? label_text(example, dataset, labels) : shown(Json(*row.values())));
  return "features " + Json(row.shape).dump() + target;
}

/// The ids of a caption without the padding at its end.
std::string caption_ids(const std::vector<int32_t>& ids) {
  size_t end = ids.size();
  while (end > 1 && ids[end - 2] == ids.back()) {
    --end;
  }
  return text_of({ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(end)}, nullptr) +
         (end < ids.size() ? " and " + std::to_string(ids.size() - end) + " times " + std::to_string(ids.back()) : "");
}

/// A line for each text encoder.
std::string caption_lines(const std::string& caption, const diffusion::CaptionTokenizers& tokenizers) {
  std::string text;
  for (const std::vector<int32_t>& ids : tokenizers.encode(caption).of_encoder) {
    text += "  ids " + caption_ids(ids) + "\n";
  }
  return text;
}

/// "96 x 64 pixels, latents [4,8,12], text states [77,768], timestep 12: a cat".
std::string image_sample(const data::ImageRow& image, const ImagePreview* preview) {
  std::string text = preview == nullptr ? ""
                                        : std::to_string(image.latents[2] * preview->downscale) + " x " +
                                              std::to_string(image.latents[1] * preview->downscale) + " pixels, ";
  text += "latents " + io::shape_text(image.latents) + ", text states " + io::shape_text(image.states);
  text += image.pooled > 0 ? ", pooled text [" + std::to_string(image.pooled) + "]" : "";
  if (image.time_ids) {
    text += ", time ids " + Json(*image.time_ids).dump();
  }
  text += image.timestep ? ", timestep " + std::to_string(*image.timestep) : "";
  text += image.is_prior ? ", prior" : "";
  return text + (image.caption != nullptr ? ": " + printable(*image.caption, 200) : "");
}

/// "  model.layers.*.self_attn.q_proj  30": each pattern with the number of its modules, in order of first appearance.
std::string grouped_modules(const std::vector<std::string>& modules) {
  std::vector<std::pair<std::string, int64_t>> groups;
  for (const std::string& module : modules) {
    const std::string pattern = name_pattern(module);
    const auto group = std::find_if(groups.begin(), groups.end(), [&](const auto& other) { return other.first == pattern; });
    if (group == groups.end()) {
      groups.emplace_back(pattern, 1);
    } else {
      ++group->second;
    }
  }
  TextTable table;
  for (const auto& [pattern, count] : groups) {
    table.add({"  " + pattern, std::to_string(count)});
  }
  return table.text();
}

std::string sample_text(const data::Example& example, const data::Dataset& train, const data::LabelSet* labels,
                        const tokenizer::Tokenizer* tokenizer, const ImagePreview* images, bool colour) {
  std::string text = "sample " + example.origin.text() + ": ";
  if (const data::ImageRow* const image = example.image()) {
    text += image_sample(*image, images) + "\n";
    return text + (images != nullptr && image->caption != nullptr ? caption_lines(*image->caption, images->tokenizers) : "");
  }
  if (example.features() != nullptr) {
    return text + dense_sample(example, train, labels) + "\n";
  }
  text += sample_facts(example, train, labels) + "\n";
  for (size_t document = 0; document < example.num_documents(); ++document) {
    text += "  " + marked_document(example, document, tokenizer, colour) + "\n";
  }
  return text;
}

}  // namespace

std::optional<ImagePreview> image_preview(const config::RunConfig& config) {
  const auto has_images = [](const data::SourceOptions& source) { return source.format == data::RowFormat::kImages; };
  if (std::none_of(config.data.train.begin(), config.data.train.end(), has_images)) {
    return std::nullopt;
  }
  const diffusion::Pipeline pipeline(pipeline_options(config.model));
  return ImagePreview{diffusion::CaptionTokenizers(pipeline), pixels_per_latent(pipeline)};
}

std::string dry_run_report(const peft::Method& method, const data::Dataset& train, const data::LabelSet* labels,
                           const tokenizer::Tokenizer* tokenizer, const ImagePreview* images, bool colour, size_t count) {
  std::string report;
  for (const peft::TargetMatch& match : method.matches()) {
    report += "target " + match.entry + "\n" + grouped_modules(match.hosts);
  }
  std::set<std::string> shown_images;
  size_t num_shown = 0;
  for (size_t i = 0; i < train.examples.size() && num_shown < count; ++i) {
    const data::Example& example = train.examples[i];
    if (const data::ImageRow* const image = example.image(); image != nullptr && !shown_images.insert(*image->image_file).second) {
      continue;
    }
    ++num_shown;
    report += sample_text(example, train, labels, tokenizer, images, colour);
  }
  return report;
}

}  // namespace lora::app

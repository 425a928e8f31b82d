#include "app/summary.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include "lora/base/counted.h"
#include "lora/base/text.h"
#include "lora/io/dtype_name.h"
#include "lora/nn/packed_weights.h"
#include "lora/optim/optimizer.h"

namespace lora::app {

namespace {

std::string percent_text(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.2f %%", value);
  return text;
}

/// "16x16 (12), 16x24 (3)": height and width of latents with their number, the most frequent first.
std::string sizes_text(const data::Dataset& images) {
  constexpr size_t kNamed = 6;
  std::map<std::pair<int64_t, int64_t>, int64_t> counts;
  for (const data::Example& example : images.examples) {
    counts[{example.image()->latents[1], example.image()->latents[2]}] += example.is_form ? 0 : 1;
  }
  std::vector<std::pair<std::pair<int64_t, int64_t>, int64_t>> sizes(counts.begin(), counts.end());
  std::stable_sort(sizes.begin(), sizes.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  std::vector<std::string> texts;
  for (const auto& [size, number] : sizes) {
    texts.push_back(std::to_string(size.first) + "x" + std::to_string(size.second) +
                    (sizes.size() > 1 ? " (" + with_thousands(number) + ")" : ""));
  }
  return join(texts, ", ", kNamed);
}

std::string data_line(const std::string& label, const data::Dataset& dataset) {
  const data::DataReport& report = dataset.report;
  const auto count = static_cast<int64_t>(dataset.examples.size());
  if (!dataset.examples.empty() && dataset.examples.front().features() != nullptr) {
    return label + counted(count, "row") + " of features " + Json(dataset.examples.front().features()->shape).dump();
  }
  if (!dataset.examples.empty() && dataset.examples.front().image() != nullptr) {
    const auto is_image = [](const data::Example& example) { return !example.is_form; };  // a form is another use of the image before it
    const auto images = std::count_if(dataset.examples.begin(), dataset.examples.end(), is_image);
    return label + counted(images, "image") + ", latents " + sizes_text(dataset);
  }
  const bool has_labels = count > 0 && dataset.examples.front().has_target();
  std::string line = label + counted(count, has_labels ? "labelled row" : "document") + ", " + counted(dataset.num_tokens(), "token") +
                     (has_labels ? "" : ", " + with_thousands(dataset.num_supervised()) + " supervised");
  const auto add = [&line](int64_t count, const char* what) {
    if (count > 0) {
      line += ", " + with_thousands(count) + " " + what;
    }
  };
  add(report.truncated, "truncated");
  add(report.dropped, "dropped as too long");
  add(report.split, "split");
  add(report.skipped, "skipped (no supervised tokens)");
  return line;
}

/// The unit of the batch size.
const char* unit_of_batch(const SummaryInput& input) {
  const bool has_rows = !input.train.examples.empty() && input.train.examples.front().has_target();
  if (!input.train.examples.empty() && input.train.examples.front().image() != nullptr) {
    return "image";
  }
  return input.config.data.packing ? "pack" : has_rows ? "row" : "document";
}

std::string text_line(const std::string& set, const data::TextReport& text, bool append_eos) {
  const std::string unit(data::kTextDocuments.name(text.documents));
  return "text         " + set + ": each " + unit + " of a .txt file is a document" + (append_eos ? ", followed by EOS" : "") +
         " (median " + with_thousands(text.median_tokens) + " tokens" +
         (text.documents == data::TextDocuments::kLine ? R"(; set "documents": "paragraph" or "file" for longer ones))" : ")");
}

}  // namespace

Json weight_figures(const nn::Model& model) {
  const nn::PackedWeights packed = nn::packed_weights(model);
  Json figures{{"weight_bytes", model.base_size().bytes}};
  if (!packed.empty()) {
    figures["packed_bits_per_parameter"] = packed.total().bits_per_value();
  }
  return figures;
}

Figures count_parameters(const nn::Model& model, const peft::Method& method) {
  Figures figures;
  figures.total = model.base_size().values;
  const std::vector<nn::Parameter> base = model.base_parameters();
  const bool base_is_trained =
      std::any_of(base.begin(), base.end(), [](const nn::Parameter& parameter) { return parameter.tensor.requires_grad(); });
  for (const nn::Parameter& trained : method.parameters()) {
    figures.trainable += trained.tensor.numel();
  }
  figures.total += base_is_trained ? 0 : figures.trainable;
  return figures;
}

namespace {

/// Where the state of a paged optimiser is, or a state in a file, and how weights of half types are updated; "" if there is nothing to say.
std::string optimizer_line(const optim::OptimizerOptions& options, const std::vector<nn::Parameter>& trained) {
  const bool is_in_place = options.weight_update == optim::WeightUpdate::kInPlace;
  const std::string name = "optimizer    " + std::string(optim::kOptimizers.name(options.kind)) +
                           (is_in_place ? "" : ", weight_update " + std::string(optim::kWeightUpdates.name(options.weight_update)));
  if (options.state_file.empty() && !optim::facts_of(options.kind).is_paged) {
    return is_in_place ? "" : name;
  }
  const optim::StateSize size = optim::state_size(options, trained);
  if (size.file > 0) {
    return name + ", its moments in a file of " + human_bytes(size.file) + " in " + options.state_file.string();
  }
  if (size.paged > 0) {
    return name + ", " + human_bytes(size.paged) + " of its moments in memory that moves to the host when the GPU's is full";
  }
  return name + ", all of its moments in memory: pages are for large tensors on a GPU (on the CPU, set training.optim_state_file)";
}

/// What is packed, and which projections are not.
void add_quantization_lines(std::vector<std::string>& lines, const nn::Model& model) {
  constexpr size_t kNamed = 4;
  const nn::PackedWeights packed = nn::packed_weights(model);
  if (packed.empty()) {
    return;
  }
  lines.push_back("quantised    " + packed.text() + ": " + human_bytes(packed.total().bytes) + " of the base's " +
                  human_bytes(model.base_size().bytes));
  if (!packed.plain.empty()) {
    lines.push_back("             projections of plain numbers: " + join(packed.plain, ", ", kNamed));
  }
  if (packed.experts > 0) {
    lines.push_back("             experts are packed too, which bitsandbytes leaves as they are: " + counted(packed.experts, "tensor"));
  }
}

/// The rows of training and evaluation: how many, their columns, labels, prompts and texts.
void add_data_lines(std::vector<std::string>& lines, const SummaryInput& input) {
  lines.push_back(data_line("train        ", input.train));
  if (input.eval != nullptr) {
    lines.push_back(data_line("eval         ", *input.eval));
  }
  for (const data::Dataset* dataset : {&input.train, input.eval}) {
    for (size_t i = 0; dataset != nullptr && i < dataset->report.unused_columns.size(); ++i) {
      lines.push_back("             columns not used: " + dataset->report.unused_columns[i]);
    }
  }
  if (input.labels != nullptr && !input.labels->is_regression && !input.labels->names.empty()) {
    lines.push_back("labels       " + std::to_string(input.labels->num_labels()) + ": " +
                    printable(join(input.labels->names, ", ", 20), 400));
  }
  lines.insert(lines.end(), input.prompts.begin(), input.prompts.end());
  for (const data::TextReport& text : input.train.report.texts) {
    lines.push_back(text_line("train", text, input.config.data.append_eos));
  }
  for (const data::TextReport& text : input.eval != nullptr ? input.eval->report.texts : std::vector<data::TextReport>()) {
    lines.push_back(text_line("eval", text, input.config.data.append_eos));
  }
}

}  // namespace

std::vector<std::string> summary_lines(const SummaryInput& input, const MemoryPlan& memory) {
  const nn::Model& model = *input.base.model;
  const train::TrainOptions& training = input.config.training;
  const Figures figures = count_parameters(model, input.method);
  std::vector<std::string> lines;
  lines.push_back("base model   " + input.config.model.name + " (" + input.base.model_type + ", " + io::dtype_name(model.dtype()) + ", " +
                  model.device().str() + (input.config.model.from_scratch ? ", random weights" : "") + ")");
  add_quantization_lines(lines, model);
  lines.push_back("method       " + input.method.name());
  for (const peft::TargetMatch& match : input.method.matches()) {
    lines.push_back("  " + match.entry + ": " +
                    counted(static_cast<int64_t>(match.hosts.size()), input.config.adapter ? "module" : "tensor"));
  }
  lines.push_back("parameters   " + with_thousands(figures.trainable) + " trainable of " + with_thousands(figures.total) + " (" +
                  percent_text(figures.percent()) + ")");
  add_data_lines(lines, input);
  const int64_t budget = input.config.data.tokens_per_batch.value_or(0);
  const std::string batch = budget > 0 ? "up to " + with_thousands(budget) + " tokens"
                                       : counted(memory.batch_size, unit_of_batch(input)) + (training.finds_batch_size ? " (auto)" : "");
  lines.push_back("steps        " + with_thousands(input.total_steps) + " (" + batch + " x " +
                  std::to_string(training.gradient_accumulation_steps) + " accumulated per step)");
  lines.push_back("memory       about " + human_bytes(memory.bytes) + " at the peak (estimate)" +
                  recomputed_text(memory.execution.recompute) + (memory.usable ? ", of " + human_bytes(*memory.usable) + " usable" : ""));
  if (const std::string line = optimizer_line(training.optimizer, input.method.parameters()); !line.empty()) {
    lines.push_back(line);
  }
  return lines;
}

}  // namespace lora::app

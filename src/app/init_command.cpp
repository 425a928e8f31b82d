#include "lora/app/init_command.h"

#include <algorithm>
#include <system_error>

#include "app/init_config.h"
#include "app/init_images.h"
#include "app/pipeline_weights.h"
#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/terminal.h"
#include "lora/base/text.h"
#include "lora/config/command_line.h"

namespace lora::app {

namespace {

void require_new(const fs::path& file) {
  std::error_code error;
  if (fs::exists(fs::symlink_status(file, error))) {
    output_error("--output", "'" + file.string() + "' exists already, and nothing is replaced. Remove it, or name another file.");
  }
}

/// A path of the command line as the config file writes it: relative to the file's own folder.
std::string path_for_config(const std::string& given, const fs::path& folder) {
  const fs::path path(given);
  if (path.is_absolute() || folder == fs::current_path()) {
    return given;
  }
  return (fs::current_path() / path).lexically_normal().lexically_relative(folder).string();
}

/// A name in the local Hugging Face cache is unchanged.
std::string model_for_config(const models::ModelOptions& model, const fs::path& folder) {
  std::error_code error;
  const bool is_path = fs::equivalent(model.name, model.path, error);
  return is_path ? path_for_config(model.name, folder) : model.name;
}

/// A folder under runs/, named after the rows, that holds nothing yet.
std::string new_output_dir(const std::string& data, const fs::path& folder) {
  const std::string file = fs::path(data).filename().string();
  const std::string stem = file.substr(0, file.find('.'));
  const bool is_plain = !stem.empty() && stem.find_first_of("*?[") == std::string::npos;
  const std::string name = "runs/" + (is_plain ? stem : std::string("run"));
  std::string result = name;
  std::error_code error;
  for (int i = 2; fs::exists(folder / result, error); ++i) {
    result = name + "-" + std::to_string(i);
  }
  return result;
}

std::string model_line(const ModelFacts& model) {
  std::string line = "model  " + model.options.name + ": " + model.model_type + ", " + with_thousands(model.num_parameters) +
                     " parameters in " + model.dtype;
  if (model.max_positions) {
    line += ", up to " + with_thousands(*model.max_positions) + " tokens";
  }
  return line + (model.tokenizer == nullptr ? ", no tokenizer" : model.has_template ? ", with a chat template" : ", no chat template");
}

std::string rows_line(const std::string& path, const RowFacts& rows) {
  const data::RowSurvey& survey = rows.survey;
  return "data   " + path + ": " + (survey.files.size() > 1 ? counted(static_cast<int64_t>(survey.files.size()), "file") + ", " : "") +
         (survey.has_more ? "more than " : "") + counted(survey.num_rows, "row") + " of the format " +
         std::string(data::kRowFormats.name(survey.format)) + ", " + with_thousands(rows.lengths.front()) + " to " +
         counted(rows.lengths.back(), "token") + " (median " + with_thousands(rows.length_at(0.5)) + ")";
}

/// One line per key: name, value, reason.
std::string choices_text(const std::vector<InitChoice>& choices) {
  constexpr size_t kLongestValue = 36;
  const auto value_of = [](const InitChoice& choice) { return choice.value.dump(); };
  size_t key_width = 0, value_width = 0;
  for (const InitChoice& choice : choices) {
    key_width = std::max(key_width, choice.key.size());
    value_width = std::max(value_width, std::min(kLongestValue, value_of(choice).size()));
  }
  std::string text;
  for (const InitChoice& choice : choices) {
    const std::string value = value_of(choice);
    text += "  " + choice.key + std::string(key_width - choice.key.size() + 2, ' ') + value +
            std::string(value.size() < value_width ? value_width - value.size() : 0, ' ') + "  " + choice.reason + "\n";
  }
  return text;
}

/// @param first what was found, in two lines.
std::string summary(const InitRequest& request, const std::string& first, const InitPlan& plan) {
  std::string text = first + "\n\n" + choices_text(plan.choices) + "\nNot decided:\n";
  for (const std::string& sentence : plan.undecided) {
    text += "  - " + sentence + "\n";
  }
  const std::string file = request.output.string();
  return text + "\nWrote " + file + ". Next:\n  lora-train --config " + file + " --dry-run   checks everything and shows sample rows\n" +
         "  lora-train --config " + file + "             trains\n";
}

void write_config(const InitRequest& request, const fs::path& folder, const std::string& first, const InitPlan& plan) {
  make_writable_folder(folder);
  require_new(request.output);
  write_file_atomically(request.output, plan.config.dump(2) + "\n");
  terminal::print(summary(request, first, plan));
}

}  // namespace

int init_command(const InitRequest& request) {
  require_new(request.output);
  const fs::path folder = fs::absolute(request.output).lexically_normal().parent_path();
  const auto paths = [&](const models::ModelOptions& model) -> InitPaths {
    return {model_for_config(model, folder), path_for_config(request.data, folder), new_output_dir(request.data, folder)};
  };
  const models::ModelOptions options = config::read_model_flags({.model = request.model, .flag = "--init"}, request.surroundings);
  if (is_pipeline(options.path)) {
    const ImageFacts facts = read_image_facts(options, request.data);
    write_config(request, folder, image_lines(facts, request.data), choose_image_config(facts, paths(options)));
    return 0;
  }
  const ModelFacts model = read_model_facts(request.model, request.surroundings);
  const RowFacts rows = read_row_facts(request.data, model);
  write_config(request, folder, model_line(model) + "\n" + rows_line(request.data, rows), choose_config(model, rows, paths(options)));
  return 0;
}

}  // namespace lora::app

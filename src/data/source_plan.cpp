#include "data/source_plan.h"

#include <algorithm>

#include "data/formats.h"
#include "data/paths.h"
#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/text.h"

namespace lora::data {
namespace {

constexpr double kMaxWeight = 10'000;

void require_known_columns(const SourceOptions& source, const Format& format, const std::string& where) {
  std::vector<std::string> fields = format.required;
  fields.insert(fields.end(), format.optional.begin(), format.optional.end());
  for (const auto& [field, column] : source.columns) {
    if (std::find(fields.begin(), fields.end(), field) == fields.end()) {
      config_error(where + ".columns", "\"" + printable(field) + "\" is not a field of the format " +
                                           std::string(kRowFormats.name(source.format)) + ": expected " + join(fields) +
                                           did_you_mean(field, fields) +
                                           ". The keys are the names listed here, the values are those in the file.");
    }
  }
}

void require_valid_source(const SourceOptions& source, const Format& format, const DataOptions& options, const LoadContext& context,
                  const std::string& where) {
  if (!(source.weight > 0 && source.weight <= kMaxWeight)) {
    config_error(where + ".weight", "found " + std::to_string(source.weight) + ", expected a number above 0 and at most 10,000");
  }
  require_known_columns(source, format, where);
  if (needs_text(source.format) && context.tokenizer == nullptr) {
    config_error(where + ".format", "the format " + std::string(kRowFormats.name(source.format)) +
                                        " needs a tokenizer, but the model has none. Set model.tokenizer, or use tokens rows.");
  }
  if (facts_of(source.format).chat == ChatUse::kMessages && context.chat_template == nullptr) {
    config_error(where + ".format", "messages rows need a chat template, but the model has none. Set data.chat_template to one of " +
                                        join(tokenizer::builtin_chat_templates()) + ", or to a .jinja file.");
  }
  if (options.train_on == TrainOn::kLastTurn && !has_turns(source.format)) {
    config_error("data.train_on", "found \"last_turn\" with the format " + std::string(kRowFormats.name(source.format)) +
                                      ", whose rows have no turns, expected completion or all");
  }
}

const FileKind& kind_of(const std::string& path, const SourceOptions& source, const std::string& where) {
  const FileKind* const kind = file_kind(path);
  if (kind == nullptr) {
    config_error(where + ".path", "unknown kind of file: found " + path + ", expected a name ending in " + known_endings());
  }
  if (kind->is_plain_text && source.format != RowFormat::kText) {
    config_error(where + ".format",
                 path + " is plain text: found the format " + std::string(kRowFormats.name(source.format)) + ", expected text");
  }
  if (!kind->is_plain_text && source.documents != TextDocuments::kLine) {
    config_error(where + ".documents", "found \"" + std::string(kTextDocuments.name(source.documents)) + "\" for " + path +
                                           ", expected it only for a .txt file, as the rows of other files are documents");
  }
  return *kind;
}

}  // namespace

std::vector<PlannedFile> plan_files(const std::string& name, const std::vector<SourceOptions>& sources, const DataOptions& options,
                                    const LoadContext& context) {
  std::vector<PlannedFile> files;
  bool warned_of_eos = false;
  for (size_t i = 0; i < sources.size(); ++i) {
    const SourceOptions& source = sources[i];
    const std::string where = name + "[" + std::to_string(i) + "]";
    const Format& format = format_of(source.format);
    require_valid_source(source, format, options, context, where);
    if (needs_text(source.format) && options.append_eos && !context.tokenizer->eos_id() && !warned_of_eos) {
      warned_of_eos = true;
      log::warn("[" + name + "] append_eos is enabled, but the tokenizer has no EOS token: none is appended");
    }
    if (source.limit.value_or(1) <= 0) {
      continue;
    }
    for (const std::string& path : expand_path(source.path)) {
      const FileKind& kind = kind_of(path, source, where);
      files.push_back({path, &kind, i, std::make_shared<const std::string>(path == "-" ? kStdinName : path)});
    }
  }
  return files;
}

std::set<std::string> renamed_optional_columns(const SourceOptions& source) {
  std::set<std::string> columns;
  for (const std::string& field : format_of(source.format).optional) {
    const auto renamed = source.columns.find(field);
    if (renamed != source.columns.end()) {
      columns.insert(renamed->second);
    }
  }
  return columns;
}

}  // namespace lora::data

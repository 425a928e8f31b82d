#include <algorithm>

#include "config/image_keys.h"
#include "config/sections.h"
#include "config/table.h"
#include "lora/base/text.h"
#include "lora/data/row_fields.h"
#include "lora/data/rows.h"
#include "lora/tokenizer/chat_template.h"

namespace lora::config {

namespace {

using data::DataOptions;
using data::RowFormat;
using data::SourceOptions;

constexpr int64_t kLargestBudget = 1'000'000'000;

Rule columns_rule() {
  Rule rule = map_of(text());
  std::vector<std::string> names;
  for (const auto& entry : data::kRowFormats.entries) {
    for (const std::string& field : data::row_fields(entry.value)) {
      if (std::find(names.begin(), names.end(), field) == names.end()) {
        names.push_back(field);
      }
    }
  }
  rule.schema["propertyNames"] = {{"enum", names}};
  rule.expected = "an object of field names and the columns of the file, such as {\"text\": \"body\"}; the fields are " + join(names);
  return rule;
}

const Table<SourceOptions>& source_table() {
  static const Table<SourceOptions> kTable = [] {
    Table<SourceOptions> table;
    table
        .value(
            "path", [](auto& o) -> auto& { return o.path; }, text(),
            "File (" + data::file_endings(" or ") +
                ", each also compressed as .gz), a glob pattern, or - for standard input; of images also a folder.")
        .required()
        .example("data/rows.jsonl")
        .choice("format", [](auto& o) -> auto& { return o.format; }, data::kRowFormats, "Format of the rows.", {"preference"})
        .required()
        .example("messages")
        .value(
            "columns", [](auto& o) -> auto& { return o.columns; }, columns_rule(),
            "Names of the file's columns for those fields of the format that have another name there.")
        .example({{"prompt", "question"}, {"completion", "answer"}})
        .value(
            "weight", [](auto& o) -> auto& { return o.weight; }, number({.above = 0, .to = 1e4}),
            "Average number of times that each row is used per epoch.")
        .example(0.5)
        .value(
            "limit", [](auto& o) -> auto& { return o.limit; }, nullable(integer(1)), "Maximum number of rows to read; null: all.")
        .example(1000)
        .choice(
            "documents", [](auto& o) -> auto& { return o.documents; }, data::kTextDocuments,
            "Unit of a .txt file that is one document: a line, a paragraph (up to a blank line) or the whole file.")
        .example("paragraph")
        .value(
            "prior", [](auto& o) -> auto& { return o.prior; }, boolean(),
            "Whether all images of this source show the subject's class in general (prior preservation); the column \"prior\" says so for "
            "a single row (default: false).")
        .only_where_given()
        .example(true);
    return table;
  }();
  return kTable;
}

void check_columns(const SourceOptions& source, const ConfigPlace& at) {
  const std::vector<std::string> fields = data::row_fields(source.format);
  for (const auto& [field, column] : source.columns) {
    if (std::find(fields.begin(), fields.end(), field) == fields.end()) {
      at.key("columns").key(field).add("is not a field of the format " + std::string(data::kRowFormats.name(source.format)) +
                                       ", expected one of " + join(fields));
    }
  }
}

/// data.train or data.eval.
template <typename Access>
Field<DataOptions> sources_field(const std::string& key, Access access, size_t min_items, const std::string& description) {
  Json schema{{"type", "array"}, {"items", source_table().schema()}};
  if (min_items > 0) {
    schema["minItems"] = min_items;
  }
  Field<DataOptions> field{key, description, schema, Json::array(), nullptr};
  field.read = [access, min_items](const Json& value, DataOptions& options, const ConfigPlace& at) {
    if (!value.is_array() || value.size() < min_items) {
      at.add("found " + shown(value) + R"(, expected a list of sources, such as [{"path": "train.jsonl", "format": "instruction"}])");
      return;
    }
    for (size_t i = 0; i < value.size(); ++i) {
      if (!value[i].is_object()) {
        const std::string path = value[i].is_string() ? value[i].get<std::string>() : "train.jsonl";
        at.item(i).add("found " + shown(value[i]) + ", expected an object, such as " +
                       Json{{"path", path}, {"format", "instruction"}}.dump());
        continue;
      }
      SourceOptions source;
      source_table().read(value[i], source, at.item(i));
      if (at.item(i).sound({"format", "columns"})) {
        check_columns(source, at.item(i));
      }
      if (source.prior && source.format != RowFormat::kImages && at.item(i).sound({"format", "prior"})) {
        at.item(i).key("prior").add("found true with the format " + std::string(data::kRowFormats.name(source.format)) +
                                    ", expected it only with images");
      }
      access(options).push_back(std::move(source));
    }
  };
  field.show = [access](const DataOptions& options) {
    Json list = Json::array();
    for (const SourceOptions& source : access(options)) {
      list.push_back(source_table().resolved(source, Json::object()));
    }
    return list;
  };
  return field;
}

void add_sources(Table<DataOptions>& table) {
  table
      .custom(sources_field(
          "train", [](auto& o) -> auto& { return o.train; }, 1, "Sources of the training rows."))
      .required()
      .example(Json::array({{{"path", "data/train.jsonl"}, {"format", "messages"}}}))
      .custom(sources_field(
          "eval", [](auto& o) -> auto& { return o.eval; }, 0, "Sources of the evaluation rows."))
      .example(Json::array({{{"path", "data/eval.jsonl"}, {"format", "messages"}}}))
      .value(
          "eval_fraction", [](auto& o) -> auto& { return o.eval_fraction; }, number({.from = 0, .below = 1}),
          "Share of the training rows to hold out for evaluation, instead of data.eval.")
      .example(0.05);
}

void add_lengths(Table<DataOptions>& table) {
  table
      .value(
          "max_length", [](auto& o) -> auto& { return o.max_length; }, integer(2, kLargestSize), "Maximum length of a document in tokens.")
      .example(2048)
      .choice(
          "overlength", [](auto& o) -> auto& { return o.overlength; }, data::kOverlengths,
          "What to do with a longer document: truncate it, drop it, stop with an error, or split it.")
      .value(
          "packing", [](auto& o) -> auto& { return o.packing; }, boolean(),
          "Put several documents together up to max_length tokens; no document attends to another.")
      .value(
          "tokens_per_batch", [](auto& o) -> auto& { return o.tokens_per_batch; }, nullable(integer(0, kLargestBudget)),
          "Fill each batch with documents (with packing: bins) up to this number of input tokens, instead of "
          "training.per_device_train_batch_size; a longer document is a batch of its own; null or 0: off.")
      .example(4096);
}

void add_text_options(Table<DataOptions>& table) {
  table
      .choice(
          "train_on", [](auto& o) -> auto& { return o.train_on; }, data::kTrainOn,
          "Tokens of prompt_completion, instruction and messages rows to predict: the completion (all turns of the assistant), "
          "last_turn (the assistant's last turn, for messages only), or all.")
      .value(
          "chat_template", [](auto& o) -> auto& { return o.chat_template; }, nullable(text()),
          "Chat template of messages and instruction rows: " + tokenizer::known_chat_templates() +
              "; null: that of init_from if it has one, otherwise the model's own for messages and the Alpaca prompt for instruction.")
      .example("chatml")
      .value(
          "append_eos", [](auto& o) -> auto& { return o.append_eos; }, boolean(),
          "End each document with the tokenizer's end-of-sequence token.")
      .value(
          "parse_special_tokens", [](auto& o) -> auto& { return o.parse_special_tokens; }, boolean(),
          "Read the text of a special token in a text, prompt or completion as that token; false: as plain text.");
}

void add_order_and_cache(Table<DataOptions>& table) {
  table
      .value(
          "shuffle", [](auto& o) -> auto& { return o.shuffle; }, boolean(),
          "Shuffle the documents anew in each epoch; false without packing: keep the order of the file.")
      .value(
          "cache_dir", [](auto& o) -> auto& { return o.cache_dir; }, nullable(text()),
          "Folder for tokenised data, which later runs with the same content reuse; null: no cache. Images are always cached; null: in "
          "output_dir.")
      .example("cache");
}

const Table<DataOptions>& data_table() {
  static const Table<DataOptions> kTable = [] {
    Table<DataOptions> table;
    add_sources(table);
    add_lengths(table);
    add_text_options(table);
    add_order_and_cache(table);
    add_image_keys(table);
    return table;
  }();
  return kTable;
}

void make_absolute(std::vector<SourceOptions>& sources, const Context& context) {
  for (SourceOptions& source : sources) {
    if (source.path != "-" && !source.path.empty()) {
      source.path = absolute_path(context, source.path).string();
    }
  }
}

/// A name is kept; anything else is a path, which becomes absolute.
void find_template(DataOptions& options, const ConfigPlace& at, const Context& context) {
  const std::vector<std::string> names = tokenizer::chat_template_names();
  if (!options.chat_template || std::find(names.begin(), names.end(), *options.chat_template) != names.end()) {
    return;
  }
  const std::string given = *options.chat_template;
  options.chat_template = absolute_path(context, given).string();
  if (!std::filesystem::exists(*options.chat_template) && at.sound({"chat_template"})) {
    at.key("chat_template")
        .add("found '" + printable(given, 200) + "', expected " + tokenizer::known_chat_templates() + did_you_mean(given, names));
  }
}

/// Refuses keys that have no effect on rows of the run's formats.
void check_used(const DataOptions& options, const ConfigPlace& at) {
  const auto any = [&options](bool (*matches)(RowFormat)) {
    const auto has_it = [matches](const SourceOptions& source) { return matches(source.format); };
    return std::any_of(options.train.begin(), options.train.end(), has_it) || std::any_of(options.eval.begin(), options.eval.end(), has_it);
  };
  const auto require = [&](const std::string& key, bool is_set, bool (*matches)(RowFormat), const std::string& formats) {
    if (is_set && !any(matches) && at.sound({"train", "eval", key})) {
      at.key(key).add("has no effect on the rows of this run: expected a source of the format " + formats + ", or the key removed");
    }
  };
  require("chat_template", options.chat_template.has_value(), data::is_conversation, "messages, instruction or prompt_completion");
  // With labels and features train_on is refused where the objective is known, which gives the reason.
  require("train_on", options.train_on == data::TrainOn::kAll && !any(data::has_one_label), data::has_prompt,
          "prompt_completion, instruction or messages");
  require("append_eos", !options.append_eos, data::needs_text, "text, prompt_completion, instruction or messages");
}

void check_together(const DataOptions& options, const ConfigPlace& at) {
  if (!options.eval.empty() && options.eval_fraction > 0 && at.sound({"eval", "eval_fraction"})) {
    at.key("eval_fraction").add("found " + number_json(options.eval_fraction).dump() + " with data.eval, expected one of the two");
  }
  for (const auto* sources : {&options.train, &options.eval}) {
    const auto misses_turns = [](const SourceOptions& source) { return !data::has_turns(source.format); };
    const auto other = std::find_if(sources->begin(), sources->end(), misses_turns);
    if (options.train_on == data::TrainOn::kLastTurn && other != sources->end() && at.sound({"train_on", "train", "eval"})) {
      at.key("train_on")
          .add("found \"last_turn\" with the format " + std::string(data::kRowFormats.name(other->format)) +
               ", whose rows have no turns, expected completion or all");
      break;
    }
  }
  const auto is_stdin = [](const SourceOptions& source) { return source.path == "-"; };
  if (std::count_if(options.train.begin(), options.train.end(), is_stdin) +
          std::count_if(options.eval.begin(), options.eval.end(), is_stdin) >
      1) {
    at.add("found \"-\" as the path of several sources, expected it once: standard input can be read only once");
  }
}

}  // namespace

Json data_schema() {
  return data_table().schema();
}

Section<DataOptions> read_data(const Json& section, const ConfigPlace& at, const Context& context) {
  Section<DataOptions> result;
  data_table().read(section, result.options, at);
  make_absolute(result.options.train, context);
  make_absolute(result.options.eval, context);
  if (!result.options.cache_dir.empty()) {
    result.options.cache_dir = absolute_path(context, result.options.cache_dir);
  }
  find_template(result.options, at, context);
  check_together(result.options, at);
  check_used(result.options, at);
  check_images(section, result.options, at);
  result.resolved = data_table().resolved(result.options, section);
  return result;
}

}  // namespace lora::config

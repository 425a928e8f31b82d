#include "app/sweep_table.h"

#include <algorithm>

#include "app/text_table.h"
#include "lora/base/input_file.h"
#include "lora/base/text.h"
#include "lora/train/objectives.h"

namespace lora::app {

namespace {

namespace fs = std::filesystem;

/// The rows of a metrics.jsonl; none if there is no such file.
std::vector<Json> metrics_rows(const fs::path& folder) {
  std::vector<Json> rows;
  const fs::path file = folder / "metrics.jsonl";
  if (!fs::exists(file)) {
    return rows;
  }
  const std::vector<std::string> lines = split(read_file(file, ErrorKind::kOutput, kMetrics), '\n');
  for (size_t i = 0; i + 1 < lines.size(); ++i) {  // a last line without an end was cut off when the run was killed
    rows.push_back(parse_json(lines[i], file.string(), ErrorKind::kOutput, static_cast<int64_t>(i) + 1));
    JsonReader(rows.back(), file.string() + ":" + std::to_string(i + 1), ErrorKind::kOutput).integer("step");
  }
  return rows;
}

std::optional<double> number_at(const Json& object, const std::string& key) {
  return object.is_object() && object.contains(key) && object[key].is_number() ? std::optional(object[key].get<double>()) : std::nullopt;
}

void read_metrics(const config::RunConfig& config, std::optional<double> result_step, SweepRow& row) {
  double tokens = 0;
  double seconds = 0;
  for (const Json& line : metrics_rows(config.output_dir)) {
    if (const auto loss = number_at(line, "loss")) {
      row.loss = loss;
      row.steps = line["step"].get<int64_t>();
      const auto input = number_at(line, "num_input_tokens"), rate = number_at(line, "tokens_per_second");
      tokens += input && rate ? *input : 0;
      seconds += input && rate && *rate > 0 ? *input / *rate : 0;
    }
    const auto metric = number_at(line, config.training.metric_for_best_model);
    if (metric && (!result_step || line["step"].get<double>() == *result_step)) {
      row.metric = metric;
    }
  }
  row.tokens_per_second = seconds > 0 ? std::optional(tokens / seconds) : std::nullopt;
}

std::string cell(const std::optional<double>& value) {
  return value ? short_number(*value) : "";
}

/// The columns after the name and the swept keys, for people.
std::vector<std::string> figures_of(const SweepRow& row) {
  return {row.status,
          std::to_string(row.steps),
          row.trained_parameters ? std::to_string(*row.trained_parameters) : "",
          cell(row.loss),
          cell(row.metric),
          cell(row.tokens_per_second)};
}

std::vector<std::string> head_of(const std::vector<SweepRow>& rows, const std::string& metric) {
  std::vector<std::string> head{"run"};
  for (const std::string& setting : rows.front().settings) {
    head.push_back(setting.substr(0, setting.find('=')));
  }
  head.insert(head.end(), {"status", "steps", "trained_parameters", "loss", metric, "tokens_per_second"});
  return head;
}

std::vector<std::string> cells_of(const SweepRow& row) {
  std::vector<std::string> cells{row.name};
  for (const std::string& setting : row.settings) {
    cells.push_back(setting.substr(setting.find('=') + 1));
  }
  const std::vector<std::string> figures = figures_of(row);
  cells.insert(cells.end(), figures.begin(), figures.end());
  return cells;
}

/// A cell of Markdown: a "|" would end it.
std::string in_markdown(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    escaped += c == '|' ? "\\|" : std::string(1, c);
  }
  return escaped;
}

/// A field as in RFC 4180.
std::string in_csv(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) {
    return text;
  }
  std::string quoted;
  for (const char c : text) {
    quoted += c == '"' ? "\"\"" : std::string(1, c);
  }
  return "\"" + quoted + "\"";
}

Json json_or_null(const std::optional<double>& value) {
  return value ? Json(*value) : Json();
}

}  // namespace

SweepRow read_sweep_row(const config::RunList& list, size_t index) {
  const config::RunConfig& config = list.runs[index];
  SweepRow row;
  row.name = config.name;
  row.settings = list.sweep[index];
  const fs::path file = config.output_dir / "run.json";
  const Json run = fs::exists(file) ? read_json(file, ErrorKind::kOutput) : Json::object();
  row.status = run.value("status", row.status);
  const Json result = run.value("result", Json::object());
  if (const auto trained = number_at(result, "trainable_parameters")) {
    row.trained_parameters = static_cast<int64_t>(*trained);
  }
  read_metrics(config, number_at(result, "result_step"), row);
  return row;
}

std::optional<double> metric_after(const config::RunConfig& config, int64_t step) {
  for (const Json& line : metrics_rows(config.output_dir)) {
    const auto metric = number_at(line, config.training.metric_for_best_model);
    if (metric && line["step"].get<int64_t>() == step) {
      return metric;
    }
  }
  return std::nullopt;
}

std::optional<size_t> best_row(const std::vector<SweepRow>& rows, const std::string& metric) {
  const bool greater = train::greater_is_better(metric);
  std::optional<size_t> best;
  for (size_t i = 0; i < rows.size(); ++i) {
    const bool counts = rows[i].metric && rows[i].status == "finished";
    if (counts && (!best || (greater ? *rows[i].metric > *rows[*best].metric : *rows[i].metric < *rows[*best].metric))) {
      best = i;
    }
  }
  return best;
}

std::string sweep_markdown(const std::vector<SweepRow>& rows, const std::string& metric) {
  const std::optional<size_t> best = best_row(rows, metric);
  const std::vector<std::string> head = head_of(rows, metric);
  std::string text = "| " + join(head, " | ") + " |\n|" + join(std::vector<std::string>(head.size(), "---"), "|") + "|\n";
  for (size_t i = 0; i < rows.size(); ++i) {
    std::vector<std::string> cells = cells_of(rows[i]);
    std::transform(cells.begin(), cells.end(), cells.begin(), in_markdown);
    cells.front() = best == i ? "**" + cells.front() + "** (best)" : cells.front();
    text += "| " + join(cells, " | ") + " |\n";
  }
  return text;
}

std::string sweep_csv(const std::vector<SweepRow>& rows, const std::string& metric) {
  const std::optional<size_t> best = best_row(rows, metric);
  std::vector<std::string> head = head_of(rows, metric);
  head.emplace_back("best");
  std::string text = join(head, ",") + "\n";
  for (size_t i = 0; i < rows.size(); ++i) {
    std::vector<std::string> cells = cells_of(rows[i]);
    cells.emplace_back(best == i ? "true" : "false");
    std::transform(cells.begin(), cells.end(), cells.begin(), in_csv);
    text += join(cells, ",") + "\n";
  }
  return text;
}

Json sweep_json(const std::vector<SweepRow>& rows, const std::string& metric) {
  const std::optional<size_t> best = best_row(rows, metric);
  Json table{{"metric", metric}, {"best", best ? Json(rows[*best].name) : Json()}, {"runs", Json::array()}};
  for (const SweepRow& row : rows) {
    Json settings = Json::object();
    for (const std::string& setting : row.settings) {
      const size_t equals = setting.find('=');
      settings[setting.substr(0, equals)] = setting.substr(equals + 1);
    }
    table["runs"].push_back({{"name", row.name},
                             {"settings", settings},
                             {"status", row.status},
                             {"steps", row.steps},
                             {"trained_parameters", row.trained_parameters ? Json(*row.trained_parameters) : Json()},
                             {"loss", json_or_null(row.loss)},
                             {metric, json_or_null(row.metric)},
                             {"tokens_per_second", json_or_null(row.tokens_per_second)}});
  }
  return table;
}

}  // namespace lora::app

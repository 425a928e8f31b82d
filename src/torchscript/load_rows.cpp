#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/error.h"
#include "lora/torchscript/load.h"
#include "open.h"
#include "row_checks.h"

namespace lora::torchscript {

namespace {

std::unique_ptr<nn::Model> open_rows(const models::ModelOptions& options, const data::Dataset& rows, bool gives_loss, at::Device device) {
  const RowKind kind = rows.examples.front().dense != nullptr ? RowKind::kFeatures : RowKind::kDocuments;
  const std::string output = options.output.value_or(gives_loss ? kLoss : kLogits);
  auto model = std::make_unique<ScriptRowModel>(open_network(options, output, device), options.inputs.value_or(std::vector<std::string>()),
                                                kind, output, gives_loss);
  for (const char* field : {"target", "labels"}) {
    if (model->fields().has(field) && (kind == RowKind::kFeatures || std::string(field) == "target")) {
      data::require_targets(rows, std::string("as the module is given it as '") + field + "'");
    }
  }
  require_ids(rows, model->vocab_size(), options.path.string());
  check_rows(*model, rows);
  return model;
}

}  // namespace

void require_ids(const data::Dataset& rows, int64_t vocab_size, const std::string& where) {
  for (const data::Example& row : rows.examples) {
    const auto largest = std::max_element(row.ids.begin(), row.ids.end());
    if (largest != row.ids.end() && *largest >= vocab_size) {
      data_error(row.origin.text(), "found the id " + std::to_string(*largest) + ", and the tables of " + where + " have ids from 0 to " +
                                        std::to_string(vocab_size - 1) + ". Likely cause: the tokenizer of another model.");
    }
  }
}

models::BaseModel load_row_model(const models::ModelOptions& options, const data::Dataset& rows, bool gives_loss) {
  return load_by(options, [&](at::Device device) { return open_rows(options, rows, gives_loss, device); });
}

}  // namespace lora::torchscript

#include "torchscript/fields.h"

#include <ATen/ATen.h>
#include <ATen/core/function_schema.h>

#include <algorithm>
#include <array>

#include "lora/base/error.h"
#include "lora/base/text.h"

namespace lora::torchscript {

namespace {

using at::Tensor;

/// Places the values of tokens in the rectangle.
Tensor spread(const Tensor& values_T, const Rectangle& rectangle, int64_t padding) {
  const Tensor flat = at::full({rectangle.num_documents * rectangle.length}, padding, values_T.options());
  return flat.index_copy(0, rectangle.places_T, values_T).view({rectangle.num_documents, rectangle.length});
}

Tensor input_ids(const nn::Batch& batch, const Rectangle& rectangle) {
  return spread(batch.tokens().ids_T, rectangle, 0);
}

Tensor attention_mask(const nn::Batch& batch, const Rectangle& rectangle) {
  return spread(at::ones_like(batch.tokens().ids_T), rectangle, 0);
}

Tensor position_ids(const nn::Batch& batch, const Rectangle& rectangle) {
  return at::arange(rectangle.length, batch.tokens().ids_T.options()).expand({rectangle.num_documents, -1}).contiguous();
}

Tensor token_type_ids(const nn::Batch& batch, const Rectangle& rectangle) {
  if (const std::optional<Tensor>& segments_T = batch.tokens().segments_T) {
    return spread(*segments_T, rectangle, 0);
  }
  return at::zeros({rectangle.num_documents, rectangle.length}, batch.tokens().ids_T.options());
}

Tensor features(const nn::Batch& batch, const Rectangle&) {
  return batch.features().values;
}

/// Undefined if a row has none.
Tensor target(const nn::Batch& batch, const Rectangle&) {
  const auto* const targets = std::get_if<nn::DocumentTargets>(&batch.targets);
  return targets != nullptr ? targets->values : Tensor();
}

/// Labels as transformers' models expect them: one per row if rows have labels, else one per token, not shifted.
Tensor labels(const nn::Batch& batch, const Rectangle& rectangle) {
  const auto* const labels = std::get_if<nn::TokenLabels>(&batch.targets);
  if (labels == nullptr) {
    return target(batch, rectangle);
  }
  Tensor own_T = at::full_like(labels->labels_T, nn::kIgnoreLabel);
  if (own_T.size(0) > 1) {
    own_T.slice(0, 1).copy_(labels->labels_T.slice(0, 0, own_T.size(0) - 1));
  }
  for (int64_t d = 0; d < batch.num_documents(); ++d) {
    own_T[batch.layout.host_offsets[d]] = nn::kIgnoreLabel;
  }
  return spread(own_T, rectangle, nn::kIgnoreLabel);
}

bool of_tokens(RowKind rows) {
  return rows != RowKind::kFeatures;
}

bool of_features(RowKind rows) {
  return rows == RowKind::kFeatures;
}

bool of_whole_rows(RowKind rows) {
  return rows != RowKind::kLearntTokens;
}

bool of_any(RowKind) {
  return true;
}

struct Field {
  const char* name;
  bool (*is_of)(RowKind rows);
  Tensor (*make)(const nn::Batch& batch, const Rectangle& rectangle);
};
constexpr std::array<Field, 7> kFields{{{"input_ids", of_tokens, input_ids},
                                        {"attention_mask", of_tokens, attention_mask},
                                        {"position_ids", of_tokens, position_ids},
                                        {"token_type_ids", of_tokens, token_type_ids},
                                        {"labels", of_any, labels},
                                        {"features", of_features, features},
                                        {"target", of_whole_rows, target}}};

const Field* find_field(const std::string& name, RowKind rows) {
  const auto* found = std::find_if(kFields.begin(), kFields.end(), [&](const Field& field) { return name == field.name; });
  return found == kFields.end() || !found->is_of(rows) ? nullptr : found;
}

std::vector<std::string> known_fields(RowKind rows) {
  std::vector<std::string> names;
  for (const Field& field : kFields) {
    if (field.is_of(rows)) {
      names.emplace_back(field.name);
    }
  }
  return names;
}

std::string argument_names(const Network& network) {
  std::vector<std::string> names;
  for (const Argument& argument : network.arguments()) {
    names.push_back(argument.name);
  }
  return join(names);
}

/// An element of a tuple by its index, or by its name if the tuple has names.
c10::IValue element(const c10::ivalue::Tuple& tuple, const std::string& output, const std::string& where) {
  std::vector<std::string> names;
  const auto is_nothing = [](const c10::IValue& value) { return value.isTensor() && !value.toTensor().defined(); };
  if (std::none_of(tuple.elements().begin(), tuple.elements().end(), is_nothing)) {  // an undefined element has no type
    if (const auto& schema = tuple.type()->expect<c10::TupleType>()->schema()) {
      for (const c10::Argument& field : schema->arguments()) {
        names.push_back(field.name());
      }
    }
  }
  const auto named = std::find(names.begin(), names.end(), output);
  if (named != names.end()) {
    return tuple.elements()[static_cast<size_t>(named - names.begin())];
  }
  const bool is_number = !output.empty() && std::all_of(output.begin(), output.end(), [](char c) { return c >= '0' && c <= '9'; });
  const size_t index = is_number && output.size() < 6                            ? std::stoul(output)
                       : (output == kLogits || output == kLoss) && names.empty() ? 0
                                                                                 : SIZE_MAX;
  if (index >= tuple.elements().size()) {
    config_error("model.output", "found '" + output + "', expected an index below " + std::to_string(tuple.elements().size()) +
                                     (names.empty() ? "" : " or one of " + join(names)) + ", because " + where + " returns a tuple");
  }
  return tuple.elements()[index];
}

c10::IValue entry(const c10::IValue& dictionary, const std::string& output, const std::string& where) {
  std::vector<std::string> keys;
  for (const auto& item : dictionary.toGenericDict()) {
    if (item.key().isString()) {
      keys.push_back(item.key().toStringRef());
      if (keys.back() == output) {
        return item.value();
      }
    }
  }
  config_error("model.output", "found '" + output + "', expected one of " + join(keys) + ", because " + where + " returns a dictionary");
}

}  // namespace

Rectangle make_rectangle(const nn::Batch& batch) {
  Rectangle rectangle{batch.num_documents(), std::max<int64_t>(batch.layout.max_document, 1), at::empty({batch.num_tokens()}, at::kLong)};
  int64_t* places = rectangle.places_T.data_ptr<int64_t>();
  for (int64_t d = 0; d < batch.num_documents(); ++d) {
    for (int64_t t = batch.layout.host_offsets[d]; t < batch.layout.host_offsets[d + 1]; ++t) {
      places[t] = d * rectangle.length + t - batch.layout.host_offsets[d];
    }
  }
  rectangle.places_T = rectangle.places_T.to(batch.layout.device());
  return rectangle;
}

Fields::Fields(const Network& network, const std::vector<std::string>& inputs, RowKind rows) : rows_(rows), dtype_(network.dtype()) {
  if (inputs.size() > network.arguments().size()) {
    config_error("model.inputs", "has too many fields: found " + std::to_string(inputs.size()) + ", expected at most " +
                                     std::to_string(network.arguments().size()) + ", the arguments of forward: " + argument_names(network));
  }
  for (size_t i = 0; i < network.arguments().size(); ++i) {
    const Argument& argument = network.arguments()[i];
    const bool is_named = inputs.empty() ? find_field(argument.name, rows) != nullptr : i < inputs.size();
    const std::string name = !is_named ? "" : inputs.empty() ? argument.name : inputs[i];
    if (is_named && find_field(name, rows) == nullptr) {
      config_error("model.inputs", "found '" + printable(name) + "'" + did_you_mean(name, known_fields(rows)) + ", expected one of " +
                                       join(known_fields(rows)));
    }
    if (!is_named && !argument.fallback) {
      config_error("model.inputs", "has no field for the argument '" + argument.name + "' of " + network.where() +
                                       ": expected one field for each argument, in order (" + argument_names(network) + "), from " +
                                       join(known_fields(rows)));
    }
    names_.push_back(name);
    fallbacks_.push_back(argument.fallback.value_or(c10::IValue()));
  }
  const char* const content = rows == RowKind::kFeatures ? "features" : "input_ids";
  if (!has(content)) {
    config_error("model.inputs", std::string("lacks ") + content + ", without which " + network.where() + " does not get the " +
                                     (rows == RowKind::kFeatures ? "rows" : "tokens"));
  }
}

bool Fields::has(const std::string& field) const {
  return std::find(names_.begin(), names_.end(), field) != names_.end();
}

std::vector<c10::IValue> Fields::arguments(const nn::Batch& batch, const Rectangle& rectangle) const {
  std::vector<c10::IValue> all;
  for (size_t i = 0; i < names_.size(); ++i) {
    if (names_[i].empty()) {
      all.push_back(fallbacks_[i]);
      continue;
    }
    const Tensor field = find_field(names_[i], rows_)->make(batch, rectangle);
    all.emplace_back(names_[i] == "features" ? field.to(dtype_) : field);
  }
  return all;
}

Tensor take_output(const c10::IValue& result, const std::string& output, const std::string& where) {
  c10::IValue taken = result;
  if (result.isTuple()) {
    taken = element(result.toTupleRef(), output, where);
  } else if (result.isGenericDict()) {
    taken = entry(result, output, where);
  } else if (result.isTensor() && output != kLogits && output != kLoss) {
    config_error("model.output", "found '" + output + "', but " + where + " returns a single tensor. Leave it out.");
  }
  const bool is_nothing = taken.isTensor() && !taken.toTensor().defined();
  if (!taken.isTensor() || is_nothing || !taken.toTensor().is_floating_point()) {
    config_error("model.output", "found '" + output + "', which is " +
                                     (is_nothing ? "an undefined tensor" : "of type " + taken.type()->repr_str()) +
                                     ", expected a floating-point tensor");
  }
  return taken.toTensor();
}

}  // namespace lora::torchscript

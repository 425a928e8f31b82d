#include "config/bottleneck_section.h"

#include <algorithm>
#include <array>

#include "config/method_keys.h"
#include "lora/peft/bottleneck_options.h"

namespace lora::config {

namespace {

using nn::BottleneckResidual;
using peft::BottleneckOptions;
using peft::BottleneckScaling;

const char* const kNamed = "config";
/// Keys that do not change the tensors or what they mean; the others are those of the adapter in init_from.
constexpr std::array<std::string_view, 4> kFreeKeys{"peft_type", "init_from", "dropout", "init_weights"};

Field<BottleneckOptions> named_field() {
  const Rule rule = name_of(peft::kBottleneckKinds.names(),
                            {"seq_bn_inv", "double_seq_bn_inv", "scaled_par_bn", "compacter", "compacter++", "adapter_plus"});
  return {kNamed,
          "Configuration of the adapters library, which gives the defaults of the other keys: seq_bn (Pfeiffer), double_seq_bn "
          "(Houlsby) or par_bn (parallel).",
          rule.schema, "seq_bn", [rule](const Json& value, BottleneckOptions& options, const ConfigPlace& at) {
            if (accept(rule, value, at)) {
              options = peft::bottleneck_of(*peft::kBottleneckKinds.find(value.get<std::string>()));
              options.config = Json::object();
            }
          }};
}

/// Reads the factors of layers: {"0": 8, "default": 16}.
void read_factors(const Json& value, BottleneckOptions& options, const ConfigPlace& at) {
  options.has_default_reduction = value.contains("default");
  for (const auto& [layer, factor] : value.items()) {
    const bool is_number =
        !layer.empty() && layer.size() < 7 && std::all_of(layer.begin(), layer.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (layer == "default") {
      options.reduction_factor = factor.get<double>();
    } else if (is_number) {
      options.reduction_of_layers[std::stoll(layer)] = factor.get<double>();
    } else {
      at.key(layer).add("found this key, expected the number of a layer, or \"default\"");
    }
  }
}

Field<BottleneckOptions> reduction_field() {
  const Rule factor = number({.above = 0});
  Rule rule = any_of({factor, map_of(factor)});
  rule.expected = "a number > 0, or an object of layers' numbers and \"default\" with such a number each";
  return {"reduction_factor",
          "Channels of the model per channel of the bottleneck, or an object of such numbers by layer.",
          rule.schema,
          16,
          [rule](const Json& value, BottleneckOptions& options, const ConfigPlace& at) {
            if (!accept(rule, value, at)) {
              return;
            }
            options.reduction_of_layers.clear();
            options.has_default_reduction = true;
            if (value.is_object()) {
              read_factors(value, options, at);
            } else {
              options.reduction_factor = value.get<double>();
            }
          },
          [](const BottleneckOptions& options) {
            if (options.reduction_of_layers.empty()) {
              return number_json(options.reduction_factor);
            }
            Json factors = Json::object();
            for (const auto& [layer, of_layer] : options.reduction_of_layers) {
              factors[std::to_string(layer)] = number_json(of_layer);
            }
            if (options.has_default_reduction) {
              factors["default"] = number_json(options.reduction_factor);
            }
            return factors;
          }};
}

Field<BottleneckOptions> residual_field() {
  const Rule rule = one_of({true, false, "post_add"});
  return {"residual_before_ln",
          "Where the bottleneck's own skip connection starts: the block's output (true), the bottleneck's input (false), or the sum with "
          "the residual stream (post_add).",
          rule.schema,
          true,
          [rule](const Json& value, BottleneckOptions& options, const ConfigPlace& at) {
            if (accept(rule, value, at)) {
              options.form.residual = value.is_string()   ? BottleneckResidual::kSum
                                      : value.get<bool>() ? BottleneckResidual::kBlock
                                                          : BottleneckResidual::kNormed;
            }
          },
          [](const BottleneckOptions& options) {
            return options.form.residual == BottleneckResidual::kSum ? Json("post_add")
                                                                     : Json(options.form.residual == BottleneckResidual::kBlock);
          }};
}

Field<BottleneckOptions> scaling_field() {
  Rule rule = any_of({number({}), one_of({"learned", "channel"})});
  rule.expected = "a number, \"learned\" or \"channel\"";
  return {"scaling",
          "Factor of the bottleneck's output; learned: one trained number, channel: one per channel.",
          rule.schema,
          1.0,
          [rule](const Json& value, BottleneckOptions& options, const ConfigPlace& at) {
            if (!accept(rule, value, at)) {
              return;
            }
            options.scaling = value.is_number()    ? BottleneckScaling::kFixed
                              : value == "learned" ? BottleneckScaling::kLearned
                                                   : BottleneckScaling::kChannel;
            options.form.scaling = value.is_number() ? value.get<double>() : 1.0;
          },
          [](const BottleneckOptions& options) {
            return options.scaling == BottleneckScaling::kFixed     ? number_json(options.form.scaling)
                   : options.scaling == BottleneckScaling::kLearned ? Json("learned")
                                                                    : Json("channel");
          }};
}

void add_places(Table<BottleneckOptions>& table) {
  table
      .fixed("peft_type", {peft::kBottleneck}, "Method of the adapter.")

      .custom(named_field())
      .only_where_given()
      .example("double_seq_bn")
      .value(
          "mh_adapter", [](auto& o) -> auto& { return o.mh_adapter; }, boolean(), "Add a bottleneck after attention.")
      .value(
          "output_adapter", [](auto& o) -> auto& { return o.output_adapter; }, boolean(), "Add a bottleneck after the feed-forward block.")
      .custom(reduction_field())
      .value(
          "leave_out", [](auto& o) -> auto& { return o.leave_out; }, list_of(integer(0)), "Numbers of layers without a bottleneck, from 0.")
      .value(
          "is_parallel", [](auto& o) -> auto& { return o.form.is_parallel; }, boolean(),
          "Read the input of the block's residual connection and add the result to the block's output.")
      .value(
          "original_ln_before", [](auto& o) -> auto& { return o.form.original_ln_before; }, boolean(),
          "Read the sum of the block and the residual stream, with the layer's norm if it follows the sum.")
      .value(
          "original_ln_after", [](auto& o) -> auto& { return o.form.original_ln_after; }, boolean(),
          "Add the residual stream to the result, with the layer's norm if it follows the sum.")
      .custom(residual_field());
}

void add_computation(Table<BottleneckOptions>& table) {
  table
      .choice(
          "non_linearity", [](auto& o) -> auto& { return o.form.activation; }, nn::kBottleneckActivations, "Activation of the bottleneck.")
      .value(
          "ln_before", [](auto& o) -> auto& { return o.ln_before; }, boolean(), "Train a layer norm of the bottleneck's input.")
      .value(
          "ln_after", [](auto& o) -> auto& { return o.ln_after; }, boolean(), "Train a layer norm of the bottleneck's output.")
      .value(
          "adapter_residual_before_ln", [](auto& o) -> auto& { return o.form.adapter_residual_before_ln; }, boolean(),
          "Add the bottleneck's skip connection before ln_after's norm instead of after it.")
      .custom(scaling_field())
      .value(
          "dropout", [](auto& o) -> auto& { return o.form.dropout; }, number({.from = 0, .below = 1}),
          "Probability of zero in the bottleneck's output.")
      .choice(
          "init_weights", [](auto& o) -> auto& { return o.init; }, peft::kBottleneckInits, "Initialisation of the bottlenecks.")
      .value(
          "init_weights_seed", [](auto& o) -> auto& { return o.init_weights_seed; }, nullable(integer(0)),
          "Seed with which all bottlenecks start alike; null: training.seed, and each has its own numbers.");
}

/// Keys of other parts of the library: fixed to its defaults, or details of such a part.
void add_others(Table<BottleneckOptions>& table) {
  for (const char* key : {"use_gating", "cross_adapter", "phm_layer"}) {
    table.fixed(key, {false}, "Not supported; only the adapters library's default is accepted.").only_where_given();
  }
  table.fixed("inv_adapter", {nullptr}, "Not supported; only the adapters library's default is accepted.")
      .only_where_given()
      .fixed("stochastic_depth", {0.0, nullptr}, "Not supported; only the adapters library's default is accepted.")
      .only_where_given();
  for (const char* key :
       {"inv_adapter_reduction_factor", "phm_dim", "factorized_phm_W", "shared_W_phm", "shared_phm_rule", "factorized_phm_rule",
        "phm_c_init", "phm_init_range", "learn_phm", "hypercomplex_nonlinearity", "phm_rank", "phm_bias"}) {
    table
        .custom({key, "A detail of a part of the adapters library that is not used; any value is accepted.", Json::object(), nullptr,
                 [](const Json&, BottleneckOptions&, const ConfigPlace&) {}})
        .only_where_given();
  }
}

const Table<BottleneckOptions>& bottleneck_table() {
  static const Table<BottleneckOptions> kTable = [] {
    Table<BottleneckOptions> table;
    add_places(table);
    add_computation(table);
    add_others(table);
    add_metadata(table);
    add_init_from(table);
    return table;
  }();
  return kTable;
}

void check_bottleneck(const BottleneckOptions& options, const Json&, const ConfigPlace& at) {
  if (!options.mh_adapter && !options.output_adapter) {
    at.key("output_adapter").add("found false with mh_adapter false, expected at least one of them to be true");
  }
  if (options.form.residual == BottleneckResidual::kSum && (!options.form.original_ln_before || options.form.is_parallel)) {
    at.key("residual_before_ln").add("found \"post_add\", which needs original_ln_before true and is_parallel false");
  }
}

/// The adapter of init_from has its tensors and places already.
void check_bottleneck_start(const Json& start, const Json& section, const ConfigPlace& at) {
  for (const auto& [key, value] : section.items()) {
    const bool is_free = std::find(kFreeKeys.begin(), kFreeKeys.end(), key) != kFreeKeys.end();
    if (key == kNamed || (!is_free && start.contains(key) && start[key] != value)) {
      at.key(key).add("found " + shown(value) + ", but the adapter of init_from has " + shown(start.value(key, Json("its own"))) +
                      ": remove this key to continue from that adapter");
    }
  }
}

/// An adapter with the head of a sequence classification is one of that task.
void settle_bottleneck(const Json&, const std::filesystem::path& folder, AdapterUse use, BottleneckOptions& options,
                       const ConfigPlace& file) {
  if (use == AdapterUse::kTrain) {
    return;  // the run's own task decides
  }
  check_bottleneck(options, Json(), file);
  const std::filesystem::path head = folder / peft::kHeadConfigFile;
  if (!std::filesystem::exists(head)) {
    return;
  }
  const Json config = read_json(head, ErrorKind::kModel);
  const Json model_class = config.is_object() ? config.value("model_class", Json()) : Json();
  if (model_class.is_string() && model_class.get<std::string>().find("SequenceClassification") != std::string::npos) {
    options.config["task_type"] = "SEQ_CLS";
    options.modules_to_save = options.task_modules = {"classifier", "score"};
  }
}

MethodKeys<BottleneckOptions> bottleneck_keys() {
  return {peft::kBottleneck, bottleneck_table(), check_bottleneck, check_bottleneck_start, settle_bottleneck};
}

/// The section with `config` in front, because it gives the defaults of the other keys.
Json in_reading_order(const Json& section) {
  if (!section.contains(kNamed)) {
    return section;
  }
  Json ordered{{kNamed, section[kNamed]}};
  ordered.update(section);
  return ordered;
}

}  // namespace

AdapterSection read_bottleneck_section(const Json& section, const ConfigPlace& at, const Context& context) {
  auto [options, resolved] = read_section(bottleneck_keys(), in_reading_order(section), at, context);
  return {std::move(options), std::move(resolved)};
}

peft::MethodOptions read_stored_bottleneck(const Json& config, const std::filesystem::path& folder, const ConfigPlace& file) {
  return read_stored(bottleneck_keys(), config, folder, file);
}

Json bottleneck_schema() {
  return bottleneck_table().schema();
}

Json with_library_keys(const Json& config) {
  const auto own = config.find("config");
  if (own == config.end() || !own->is_object() || config.contains("peft_type")) {
    return config;
  }
  Json flat{{"peft_type", peft::kBottleneck}, {"original_ln_before", false}};
  flat.update(*own);
  const auto activation = flat.find("non_linearity");
  if (!config.contains("version") && activation != flat.end()) {
    // The library's forerunner named them after an older transformers.
    if (*activation == "gelu") {
      *activation = "gelu_new";
    } else if (*activation == "gelu_orig") {
      *activation = "gelu";
    }
  }
  return flat;
}

}  // namespace lora::config

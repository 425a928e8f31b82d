#pragma once
#include <concepts>
#include <utility>
#include <variant>

#include "lora/peft/bottleneck_options.h"
#include "lora/peft/formula_options.h"
#include "lora/peft/options.h"
#include "lora/peft/replacement_options.h"

namespace lora::peft {

/// The options of a run's method: those of one of the methods in src/peft/methods.cpp, or none, which means full fine-tuning. Points to
/// what all methods have.
class MethodOptions {
 public:
  MethodOptions() = default;
  template <std::derived_from<AdapterOptions> Options>
  MethodOptions(Options options) : options_(std::move(options)) {}

  /// Whether an adapter is trained or used.
  explicit operator bool() const { return options_.index() > 0; }
  const AdapterOptions* operator->() const {
    return std::visit([](const auto& own) { return shared(own); }, options_);
  }
  AdapterOptions* operator->() {
    return std::visit([](auto& own) { return shared(own); }, options_);
  }
  const AdapterOptions& operator*() const { return *operator->(); }

  /// The options of this method; null if they are those of another one.
  template <std::derived_from<AdapterOptions> Options>
  const Options* as() const {
    return std::get_if<Options>(&options_);
  }

 private:
  using FullFineTuning = std::monostate;

  static AdapterOptions* shared(AdapterOptions& own) { return &own; }
  static AdapterOptions* shared(FullFineTuning&) { return nullptr; }
  static const AdapterOptions* shared(const AdapterOptions& own) { return &own; }
  static const AdapterOptions* shared(const FullFineTuning&) { return nullptr; }

  std::variant<FullFineTuning, LoraOptions, PrefixOptions, PromptTuningOptions, PTuningOptions, BottleneckOptions, Ia3Options, VeraOptions,
               LohaOptions, LokrOptions, OftOptions, BoftOptions, HraOptions, MissOptions, RandLoraOptions, LnTuningOptions,
               BitFitOptions, TrainableTokensOptions, AdaLoraOptions>
      options_;
};

}  // namespace lora::peft

#include "app/eva_pass.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "app/run_batches.h"
#include "app/run_stages.h"
#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/data/batches.h"
#include "lora/peft/eva.h"

namespace lora::app {

namespace {

constexpr int64_t kMostBatches = 10'000;  ///< more would not help (PEFT has no limit and may never end)
constexpr int64_t kBatchesPerReport = 25;

/// Positions of the tokens that the pass uses: the supervised ones, or all without use_label_mask.
at::Tensor counted_positions(const data::Dataset& dataset, const std::vector<int64_t>& indices, const peft::EvaOptions& options) {
  std::vector<int64_t> positions;
  int64_t position = 0;
  for (const int64_t index : indices) {
    const data::Example& example = dataset.examples[index];
    for (size_t document = 0; document < example.num_documents(); ++document) {
      for (const int32_t label : example.labels(document)) {
        if (!options.use_label_mask || label != options.label_mask_value) {
          positions.push_back(position);
        }
        ++position;
      }
    }
  }
  return at::tensor(positions, at::kLong);
}

[[noreturn]] void fail_small_batches(const peft::EvaPass& pass, int64_t most_tokens) {
  data_error("data.train",
             "the batches are too small for EVA, which needs one supervised token for each rank a module can get: found at most " +
                 std::to_string(most_tokens) + " per batch, expected " + std::to_string(pass.tokens_needed()) +
                 ". Raise per_device_train_batch_size (or data.tokens_per_batch), lower r or eva_config.rho, or set "
                 "eva_config.use_label_mask to false.");
}

/// Passes batches to EVA until it has converged. Returns their number.
int64_t look_at_data(const RunParts& parts, const config::RunConfig& config, const peft::EvaOptions& options, peft::EvaPass& pass) {
  const data::BatchOptions division = train_batches(config, config.training.per_device_train_batch_size);
  const std::vector<train::MicroBatch> batches = data::plan_epoch(parts.rows->train, division, 0);
  const auto epoch = static_cast<int64_t>(batches.size());
  int64_t most_tokens = 0;
  for (int64_t i = 0; i < kMostBatches || i < epoch; ++i) {
    throw_if_interrupted();
    if (i == epoch && !pass.is_started()) {
      fail_small_batches(pass, most_tokens);
    }
    const train::MicroBatch& batch = batches[static_cast<size_t>(i % epoch)];
    const at::Tensor counted = counted_positions(parts.rows->train, batch, options);
    most_tokens = std::max(most_tokens, counted.size(0));
    if (pass.add(data::make_batch(parts.rows->train, batch).to(parts.base.model->device()), counted)) {
      return i;
    }
    if ((i + 1) % kBatchesPerReport == 0) {
      log::info("EVA: " + std::to_string(pass.num_converged()) + " of " + std::to_string(pass.num_modules()) +
                " modules have converged after " + std::to_string(i + 1) + " batches");
    }
  }
  data_error("data.train", "EVA has not converged after " + std::to_string(std::max(kMostBatches, epoch)) + " batches: found " +
                               std::to_string(pass.num_converged()) + " of " + std::to_string(pass.num_modules()) +
                               " modules, expected all. Lower eva_config.tau or raise per_device_train_batch_size.");
}

}  // namespace

std::unique_ptr<peft::Method> attach_by_eva(const config::RunConfig& config, RunParts& parts, const std::filesystem::path& checkpoint) {
  const peft::LoraOptions& options = *config.adapter.as<peft::LoraOptions>();
  nn::Model& model = *parts.base.model;
  const peft::BaseReference base = base_reference(config, parts.base, parts.rows->label_set());
  if (!checkpoint.empty()) {
    return peft::attach_adapter(peft::eva_options(options, model, checkpoint), model, base, config.training.seed);
  }
  log::info("EVA: computing the initial adapter from the training data");
  peft::EvaPass pass(options, model);
  const int64_t num_batches = look_at_data(parts, config, options.eva, pass);
  const peft::EvaStart start = pass.start();
  log::info("EVA: converged after " + std::to_string(num_batches) + " batches; " + std::to_string(start.A.size()) + " of " +
            std::to_string(pass.num_modules()) + " modules get a rank");
  return peft::attach_eva(start, model, base, config.training.seed);
}

}  // namespace lora::app

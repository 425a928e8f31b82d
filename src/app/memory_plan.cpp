#include "app/memory_plan.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <set>

#include "app/run_batches.h"
#include "lora/nn/device.h"
#include "lora/nn/packed_weights.h"
#include "lora/ops/compiled_products.h"
#include "lora/optim/optimizer.h"
#include "lora/train/memory_estimate.h"
#include "lora/train/side_by_side.h"

namespace lora::app {

namespace {

using nn::Recompute;
using train::GradientCheckpointing;

/// Resident memory of a CPU run with a model of a few kilobytes, as measured: LibTorch's pages, tables, threads and kernels.
constexpr int64_t kProgramBytes = int64_t{150} << 20;
/// Fragmentation of glibc's heap, in percent of the temporary tensors, as measured.
constexpr int64_t kHolesPercent = 10;
/// How many compiled matrix products each further size of a part adds to the cache. kProgramBytes includes those of the first size.
constexpr int64_t kMostKernels = ops::kProductsOfTexts, kKernelsPerSize = 12;
constexpr int64_t kLargestFound = 64;
constexpr int64_t kMostGradientsOfALane = int64_t{64} << 20;

/// Memory of one compiled product, as measured in runs of 200 steps in bfloat16: 1.4 MiB at 64 channels, 2.5 MiB at 576.
int64_t kernel_bytes_of(int64_t channels) {
  return std::min(int64_t{10} << 18, (int64_t{13} << 20) / 10 + 2048 * channels);
}

int64_t bytes_of(const std::vector<nn::Parameter>& parameters) {
  int64_t bytes = 0;
  for (const nn::Parameter& parameter : parameters) {
    bytes += static_cast<int64_t>(parameter.tensor.nbytes());
  }
  return bytes;
}

/// Memory while the last weight is quantised; 0 if none was, and for a GPU, whose weights are quantised in the host's memory. At that time
/// its plain numbers are there too, as the file has them and as they are quantised.
int64_t loading_bytes(const nn::Model& model) {
  const nn::PackedWeights packed = nn::packed_weights(model);
  if (packed.empty() || !model.device().is_cpu()) {
    return 0;
  }
  return kProgramBytes + model.base_size().bytes + 2 * static_cast<int64_t>(at::elementSize(model.dtype())) * packed.largest;
}

/// The parts of micro-batches that are computed at once.
struct PlannedParts {
  std::vector<train::BatchSize> sizes;
  bool add_up = false;        ///< a step has several parts, so that gradients are kept during the next part's activations
  bool side_by_side = false;  ///< parts run in parallel, each with its own gradients
  std::set<int64_t> lengths;

  /// Adds the parts of one step.
  void add(const std::vector<train::MicroBatch>& parts, const train::Objective& objective, const train::Execution& execution) {
    const std::vector<train::BatchSize> at_once = train::sizes_at_once(parts, objective, execution);
    sizes.insert(sizes.end(), at_once.begin(), at_once.end());
    add_up = add_up || parts.size() > 1;
    side_by_side = side_by_side || at_once.size() < parts.size();
    for (const train::MicroBatch& part : parts) {
      lengths.insert(objective.size(part).input);
    }
  }
};

/// Estimates the peak memory of a run for different batch sizes and ways of computing its steps.
class MemoryEstimate {
 public:
  explicit MemoryEstimate(const MemoryPlanInput& input) : input_(input) {
    const std::vector<nn::Parameter>& trained = input.method.parameters();
    const bool full = !input.config.adapter;
    gradients_ = bytes_of(trained);
    const optim::StateSize state = optim::state_size(input.config.training.optimizer, trained);
    update_ = state.update;
    fixed_ = (input.model.device().is_cpu() ? kProgramBytes : 0) + input.model.base_size().bytes + (full ? 0 : gradients_) +
             state.memory;
    loading_ = loading_bytes(input.model);
    evaluation_ = gradients_;
    if (input.eval != nullptr) {
      evaluation_ += with_holes(train::evaluation_bytes(input.objective, input.model, *input.eval, eval_batches(input.config)));
    }
  }

  /// How steps are computed with this recomputation. Parts may run side by side if their own gradients are small. Does not depend on free
  /// memory, so that a resumed run gives the same bits.
  train::Execution execution(Recompute recompute) const {
    const bool may_use_lanes = gradients_ <= kMostGradientsOfALane && at::get_num_threads() > 1 && input_.objective.runs_concurrently();
    return train::execution_for(input_.model, recompute, may_use_lanes);
  }

  int64_t bytes(int64_t batch_size, const train::Execution& execution) const {
    const PlannedParts parts = planned_parts(batch_size, execution);
    const int64_t activations = with_holes(train::training_bytes(input_.objective, input_.model, parts.sizes, execution.recompute));
    const int64_t own = parts.side_by_side ? train::kMostWaiting * gradients_ : 0;
    const int64_t training = parts.add_up ? gradients_ + own + activations : std::max(gradients_, activations);
    return std::max(loading_, fixed_ + kernel_bytes(parts) + std::max({training, gradients_ + update_, evaluation_}));
  }

 private:
  int64_t with_holes(int64_t bytes) const { return input_.model.device().is_cpu() ? bytes / 100 * (100 + kHolesPercent) : bytes; }

  int64_t kernel_bytes(const PlannedParts& parts) const {
    const nn::Model& model = input_.model;
    if (!model.device().is_cpu() || !ops::compiles_products(model.dtype())) {
      return 0;
    }
    const int64_t kernels = std::min(kMostKernels, kKernelsPerSize * (static_cast<int64_t>(parts.lengths.size()) - 1));
    return kernels * kernel_bytes_of(model.body->hidden_size());
  }

  /// The parts of an epoch, step by step.
  PlannedParts planned_parts(int64_t batch_size, const train::Execution& execution) const {
    PlannedParts found;
    const std::vector<train::MicroBatch> batches = data::plan_epoch(input_.train, train_batches(input_.config, batch_size), 0);
    const auto step_size = static_cast<size_t>(input_.config.training.gradient_accumulation_steps);
    for (size_t begin = 0; begin < batches.size(); begin += step_size) {
      std::vector<train::MicroBatch> parts;
      for (size_t i = begin; i < std::min(begin + step_size, batches.size()); ++i) {
        const std::vector<train::MicroBatch> own = train::parts_of(batches[i], input_.train, execution);
        parts.insert(parts.end(), own.begin(), own.end());
      }
      found.add(parts, input_.objective, execution);
    }
    return found;
  }

  const MemoryPlanInput& input_;
  int64_t fixed_ = 0, gradients_ = 0, evaluation_ = 0, loading_ = 0, update_ = 0;
};

/// The meaning of the config's words, fastest first.
struct Way {
  GradientCheckpointing asked;
  Recompute recompute;
  const char* text;
};
constexpr std::array<Way, 4> kWays{
    {{GradientCheckpointing::kOff, Recompute::kNothing, ""},
     {GradientCheckpointing::kSelective, Recompute::kFeedForward, ", recomputing feed-forward blocks"},
     {GradientCheckpointing::kFull, Recompute::kLayers, ", recomputing layers"},
     {GradientCheckpointing::kOffload, Recompute::kOffload, ", recomputing layers with their inputs in host memory"}}};

const Way& way_of(Recompute recompute) {
  return *std::find_if(kWays.begin(), kWays.end(), [recompute](const Way& way) { return way.recompute == recompute; });
}

std::vector<Recompute> recomputations(const MemoryPlanInput& input) {
  const train::TrainOptions& training = input.config.training;
  std::vector<Recompute> possible;
  for (const Way& way : kWays) {
    const bool is_found = training.gradient_checkpointing == GradientCheckpointing::kAuto &&
                          (way.asked != GradientCheckpointing::kOffload || (input.model.device().is_cuda() && !training.cuda_graphs));
    if (is_found || way.asked == training.gradient_checkpointing) {
      possible.push_back(way.recompute);
    }
  }
  return possible;
}

/// The number of documents (or bins) in an epoch.
int64_t num_documents(const MemoryPlanInput& input) {
  return static_cast<int64_t>(data::plan_epoch(input.train, train_batches(input.config, /*batch_size=*/1), 0).size());
}

/// The batch sizes to try, best first.
std::vector<int64_t> batch_sizes(const MemoryPlanInput& input) {
  const train::TrainOptions& training = input.config.training;
  if (!training.finds_batch_size || input.batch_size) {
    return {input.batch_size.value_or(training.per_device_train_batch_size)};
  }
  if (!input.usable) {
    return {train::TrainOptions{}.per_device_train_batch_size};
  }
  const int64_t documents = num_documents(input);
  std::vector<int64_t> sizes;
  for (int64_t size = kLargestFound; size >= 1; size /= 2) {
    if (size <= documents || size == 1) {
      sizes.push_back(size);
    }
  }
  return sizes;
}

}  // namespace

std::optional<int64_t> usable_memory_bytes(at::Device device) {
  const std::optional<int64_t> available = nn::available_memory_bytes(device);
  return available ? std::optional((*available + nn::held_memory_bytes(device)) / 10 * 9) : std::nullopt;
}

MemoryPlan plan_memory(const MemoryPlanInput& input) {
  const MemoryEstimate estimate(input);
  MemoryPlan last;
  const std::vector<int64_t> sizes = batch_sizes(input);
  for (const Recompute recompute : recomputations(input)) {
    const train::Execution execution = estimate.execution(recompute);
    for (const int64_t size : sizes) {
      last = {execution, size, estimate.bytes(size, execution), input.usable};
      if (!input.usable || last.bytes <= *input.usable) {
        return last;
      }
    }
  }
  return last;
}

const char* recomputed_text(Recompute recompute) {
  return way_of(recompute).text;
}

Json to_json(const MemoryPlan& plan) {
  using train::kGradientCheckpointing;
  return {{"estimated_bytes", plan.bytes},
          {"usable_bytes", plan.usable ? Json(*plan.usable) : Json(nullptr)},
          {"per_device_train_batch_size", plan.batch_size},
          {"gradient_checkpointing", kGradientCheckpointing.name(way_of(plan.execution.recompute).asked)}};
}

}  // namespace lora::app

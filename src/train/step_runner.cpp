#include "lora/train/step_runner.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <exception>

#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/nn/device.h"
#include "lora/train/side_by_side.h"
#include "train/gradients.h"
#include "train/profile_scope.h"

namespace lora::train {

namespace {

at::Device device_of(const std::vector<nn::Parameter>& parameters) {
  return parameters.front().tensor.device();
}

/// Ends the run in all processes, because parts of one of them cannot be any smaller: with that process's own error there.
[[noreturn]] void fail_for_memory(const std::exception_ptr& own) {
  if (own != nullptr) {
    std::rethrow_exception(own);
  }
  throw Error(ErrorKind::kUnforeseen, "memory", "another process is out of memory with single documents; its own message says what to do");
}

bool are_single(const std::vector<MicroBatch>& parts) {
  return std::all_of(parts.begin(), parts.end(), [](const MicroBatch& part) { return part.size() <= 1; });
}

}  // namespace

StepRunner::StepRunner(const StepInputs& inputs, const Execution& execution, uint64_t seed)
    : inputs_(inputs),
      execution_(execution),
      seed_(seed),
      agreement_(inputs.communicator),
      batches_(inputs.train, device_of(inputs.parameters), execution.prefetch),
      lanes_(execution.lanes) {}

void StepRunner::record_passes(std::unique_ptr<nn::DeviceGraph> graph, const std::vector<MicroBatch>& epoch) {
  nn::BatchRoom room;
  for (const MicroBatch& part : parts(epoch, /*halvings=*/0)) {
    room.add(room_for(part));
  }
  const auto loss_sum = [this](const nn::Pass& pass) { return inputs_.objective.loss_sum(pass, /*step=*/0); };
  graph_ = std::make_unique<StepGraph>(std::move(graph), room, inputs_.parameters, loss_sum);
}

/// The parts of micro-batches, further split into 2^halvings with about the same number of examples if possible.
std::vector<MicroBatch> StepRunner::parts(const std::vector<MicroBatch>& batches, int64_t halvings) const {
  std::vector<MicroBatch> halved;
  for (const MicroBatch& batch : batches) {
    for (const MicroBatch& part : batch.empty() ? std::vector<MicroBatch>() : parts_of(batch, inputs_.train, execution_)) {
      const auto size = static_cast<int64_t>(part.size());
      const int64_t pieces = halvings < 40 ? std::min(size, int64_t{1} << halvings) : size;
      for (int64_t i = 0; i < pieces; ++i) {
        halved.emplace_back(part.begin() + i * size / pieces, part.begin() + (i + 1) * size / pieces);
      }
    }
  }
  return halved;
}

/// The loss is a sum over examples and dropout is drawn per example, so that smaller parts do not change the step.
double StepRunner::run(const std::vector<MicroBatch>& batches, const std::optional<MicroBatch>& next, TrainerState& state, double scale) {
  clear_gradients(inputs_.parameters);
  while (true) {
    const std::vector<MicroBatch> computed = parts(batches, state.batch_halvings);
    double loss = 0;
    std::exception_ptr full;  // null: there was enough memory
    try {
      expect(computed, next, state.batch_halvings);
      loss = add_all_gradients(computed, state.step, scale);
    } catch (const c10::OutOfMemoryError&) {
      full = std::current_exception();
    }
    const auto [is_any_full, is_any_stuck] = agreement_.any({full != nullptr, full != nullptr && are_single(computed)});
    if (is_any_stuck) {
      fail_for_memory(full);
    }
    if (!is_any_full) {
      return loss;
    }
    full = nullptr;
    clear_gradients(inputs_.parameters);  // of completed parts, which also frees their memory
    nn::release_cached_memory(device_of(inputs_.parameters));
    ++state.batch_halvings;
    log::warn("[step " + std::to_string(state.step + 1) + "] a batch of " + std::to_string(computed.empty() ? 0 : computed.front().size()) +
              " does not fit into the device's memory: continuing with halves of it. The step and its result are unchanged.");
  }
}

/// Those that run side by side come last, the largest first, so that lanes end at about the same time.
double StepRunner::add_all_gradients(const std::vector<MicroBatch>& parts, int64_t step, double scale) {
  std::vector<MicroBatch> side_by_side;
  at::Tensor total;
  const auto add = [&total](const at::Tensor& value) { total = total.defined() ? total + value : value; };
  for (const MicroBatch& part : parts) {
    if (runs_alongside_others(part, inputs_.objective, execution_)) {
      side_by_side.push_back(part);
    } else {
      add(add_gradients(part, step, scale));
    }
  }
  if (!side_by_side.empty()) {
    const auto input = [this](const MicroBatch& part) { return inputs_.objective.size(part).input; };
    const auto is_larger = [&](const MicroBatch& a, const MicroBatch& b) { return input(a) > input(b); };
    std::stable_sort(side_by_side.begin(), side_by_side.end(), is_larger);
    const auto own_loss = [this, step](const MicroBatch& part) { return loss_of(part, step); };
    add(add_gradients_side_by_side(own_loss, inputs_.parameters, side_by_side, scale, lanes_));
  }
  return total.defined() ? total.item<double>() : 0;  // another process has the last micro-batches of the epoch
}

/// Lets the batches of the parts, and the first one of the next step, be built ahead.
void StepRunner::expect(const std::vector<MicroBatch>& computed, const std::optional<MicroBatch>& next, int64_t halvings) {
  if (!execution_.prefetch) {
    return;
  }
  expected_ = computed;
  if (next && !next->empty()) {
    expected_.push_back(parts({*next}, halvings).front());
  }
  batches_.expect(expected_);
}

nn::BatchRoom StepRunner::room_for(const MicroBatch& part) const {
  const BatchSize needed = inputs_.objective.size(part);
  nn::BatchRoom room{needed.input, 0, needed.supervised, 0};
  for (const int64_t index : part) {
    const data::Example& example = inputs_.train.examples[index];
    room.documents += static_cast<int64_t>(example.num_documents());
    room.longest = std::max(room.longest, example.longest_document());
  }
  return room;
}

nn::Batch StepRunner::take(const MicroBatch& part) {
  const ProfileScope scope(kDataScope);
  return batches_.take(part);
}

nn::Pass StepRunner::training_pass(const nn::Batch& tokens, int64_t step) const {
  return nn::training_pass(tokens, seed_, step, execution_.recompute);
}

at::Tensor StepRunner::loss_of(const MicroBatch& part, int64_t step) {
  const nn::Batch tokens = take(part);
  return inputs_.objective.loss_sum(training_pass(tokens, step), step);
}

at::Tensor StepRunner::add_gradients(const MicroBatch& part, int64_t step, double scale) {
  return graph_ == nullptr ? add_gradients_of(loss_of(part, step), scale) : add_recorded(take(part), step, scale);
}

at::Tensor StepRunner::add_recorded(const nn::Batch& tokens, int64_t step, double scale) {
  // A batch with less than half of the tokens, such as an epoch's last or one halved for memory, is faster without padding.
  if (!graph_->room().holds(nn::room_of(tokens)) || 2 * tokens.num_tokens() < graph_->room().tokens) {
    return add_gradients_of(inputs_.objective.loss_sum(training_pass(tokens, step), step), scale);
  }
  const nn::Batch whole = nn::padded(tokens, graph_->room());
  try {
    return graph_->add_gradients(training_pass(whole, step), scale);
  } catch (const c10::OutOfMemoryError&) {
    graph_.reset();  // the halves of a batch need less memory without padding
    throw;
  }
}

}  // namespace lora::train

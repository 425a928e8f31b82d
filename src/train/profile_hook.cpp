#include <torch/csrc/autograd/profiler_kineto.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "lora/base/log.h"
#include "lora/train/hooks.h"
#include "train/profile_report.h"

namespace lora::train {

namespace {

namespace fs = std::filesystem;
namespace profiler = torch::autograd::profiler;
using torch::profiler::impl::ActivityType;

/// libkineto's activity types of work on a GPU: copies, fills, kernels.
bool is_kernel(const profiler::KinetoEvent& event) {
  return event.deviceType() == c10::DeviceType::CUDA && event.activityType() >= 3 && event.activityType() <= 5;
}

/// The smallest side of the multiplied matrices: those of the last two inputs with at least two dimensions.
int64_t smallest_size(const profiler::KinetoEvent& event) {
  int64_t smallest = 0;
  if (event.hasShapes()) {
    for (const std::vector<int64_t>& shape : event.shapes()) {
      for (size_t i = shape.size() >= 2 ? shape.size() - 2 : shape.size(); i < shape.size(); ++i) {
        smallest = smallest == 0 ? shape[i] : std::min(smallest, shape[i]);
      }
    }
  }
  return smallest;
}

std::vector<TimedEvent> timed_events(const profiler::ProfilerResult& result) {
  std::vector<TimedEvent> events;
  for (const profiler::KinetoEvent& event : result.events()) {
    const bool on_device = is_kernel(event);
    const bool is_operator = event.deviceType() == c10::DeviceType::CPU && event.startThreadId() == event.endThreadId() && !event.isAsync();
    if (on_device || is_operator) {
      events.push_back({event.name(), event.startThreadId(), static_cast<int64_t>(event.startNs()), static_cast<int64_t>(event.endNs()),
                        smallest_size(event), on_device, on_device ? event.linkedCorrelationId() : event.correlationId()});
    }
  }
  return events;
}

}  // namespace

ProfileHook::ProfileHook(fs::path folder, ProfileOptions options, bool on_cuda, int64_t low_rank)
    : folder_(std::move(folder)), options_(options), on_cuda_(on_cuda), low_rank_(low_rank) {}

ProfileHook::~ProfileHook() {
  if (first_) {
    profiler::disableProfiler();  // the run was cut short
  }
}

bool ProfileHook::on_start(TrainerState& state) {
  if (state.step >= options_.last) {
    log::warn("[training.profile] nothing is profiled: the run resumes after step " + std::to_string(state.step) + ", and steps " +
              std::to_string(options_.first) + " to " + std::to_string(options_.last) + " have passed");
  }
  begin_if_due(state.step + 1);
  return false;
}

bool ProfileHook::on_step(const StepReport& report, TrainerState&) {
  if (first_ && report.step == options_.last) {
    end(report.step);
  } else if (report.step < report.total_steps) {
    begin_if_due(report.step + 1);
  }
  return false;
}

void ProfileHook::on_end(TrainerState& state) {
  if (first_) {
    end(state.step);
  }
}

void ProfileHook::begin_if_due(int64_t step) {
  if (first_ || step < options_.first || step > options_.last) {
    return;
  }
  std::set<ActivityType> activities{ActivityType::CPU};
  if (on_cuda_) {
    activities.insert(ActivityType::CUDA);
  }
  const torch::profiler::impl::ProfilerConfig config(torch::profiler::impl::ProfilerState::KINETO, /*report_input_shapes=*/true);
  profiler::prepareProfiler(config, activities);
  profiler::enableProfiler(config, activities);
  first_ = step;
}

void ProfileHook::end(int64_t last) {
  const int64_t first = *first_;
  first_.reset();
  const std::unique_ptr<profiler::ProfilerResult> result = profiler::disableProfiler();
  for (const std::string& line : report_lines(summarize(timed_events(*result), low_rank_), first)) {
    log::info(line);
  }
  const fs::path file = folder_ / ("trace-" + std::to_string(first) + "-" + std::to_string(last) + ".json");
  const fs::path unfinished = folder_ / (".unfinished-" + file.filename().string());
  std::error_code error;
  fs::create_directories(folder_, error);
  fs::remove(unfinished, error);  // a link of that name would be followed
  result->save(unfinished.string());
  fs::rename(unfinished, file, error);
  error ? log::warn("[training.profile] the trace " + file.string() + " could not be written: " + error.message())
        : log::info("Trace: " + file.string() + " (open it in ui.perfetto.dev or chrome://tracing)");
}

}  // namespace lora::train

#include "lora/train/hooks.h"

namespace lora::train {

namespace {

int64_t count_of(const BatchSize& size, Counted counted) {
  return counted == Counted::kSupervised ? size.supervised : size.input;
}

}  // namespace

LoggingHook::LoggingHook(int64_t logging_steps, std::vector<metrics::Sink*> sinks, std::function<int64_t()> peak_memory, Counted counted)
    : logging_steps_(logging_steps), sinks_(std::move(sinks)), peak_memory_(std::move(peak_memory)), counted_(counted) {}

bool LoggingHook::on_step(const StepReport& report, TrainerState& state) {
  state.supervised_since_log += report.size.supervised;
  state.input_since_log += count_of(report.size, counted_);
  timed_input_ += count_of(report.size, counted_);
  seconds_ += report.seconds;
  unwritten_ = report;
  if (report.step % logging_steps_ == 0 || report.step == report.total_steps) {
    write(state);
  }
  return false;
}

void LoggingHook::on_end(TrainerState& state) {
  if (unwritten_) {
    write(state);
  }
}

void LoggingHook::write(TrainerState& state) {
  Json row;
  row["step"] = unwritten_->step;
  row["epoch"] = unwritten_->epoch;
  row["loss"] = unwritten_->loss;
  row["grad_norm"] = unwritten_->grad_norm;
  row["learning_rate"] = unwritten_->learning_rate;
  // The keys are a contract with readers of metrics.jsonl and the same for every objective: in classification num_tokens counts
  // documents, and with rows of features or images all three count these.
  row["num_tokens"] = state.supervised_since_log;
  row["num_input_tokens"] = state.input_since_log;
  row["tokens_per_second"] = seconds_ > 0 ? static_cast<double>(timed_input_) / seconds_ : 0.0;
  row["peak_memory_bytes"] = peak_memory_();
  for (metrics::Sink* sink : sinks_) {
    sink->write(row);
  }
  state.supervised_since_log = 0;
  state.input_since_log = 0;
  timed_input_ = 0;
  seconds_ = 0;
  unwritten_.reset();
}

bool ProgressHook::on_step(const StepReport& report, TrainerState& state) {
  seconds_ += report.seconds;
  input_ += count_of(report.size, counted_);
  ++steps_;
  const double left = seconds_ / static_cast<double>(steps_) * static_cast<double>(report.total_steps - report.step);
  bar_.update(report.step, report.total_steps, report.loss, report.learning_rate, static_cast<double>(input_) / seconds_, left);
  return false;
}

}  // namespace lora::train

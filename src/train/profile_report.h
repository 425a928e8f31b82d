#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "lora/base/enum_table.h"

namespace lora::train {

/// What time is spent on.
enum class TimeKind { kGemm, kAttention, kLora, kLoss, kOptimizer, kData, kOther };
inline constexpr EnumTable<TimeKind, 7> kTimeKinds{{{{TimeKind::kGemm, "GEMM"},
                                                     {TimeKind::kAttention, "attention"},
                                                     {TimeKind::kLora, "LoRA"},
                                                     {TimeKind::kLoss, "loss"},
                                                     {TimeKind::kOptimizer, "optimizer"},
                                                     {TimeKind::kData, "data"},
                                                     {TimeKind::kOther, "other"}}}};

/// An operator or scope that ran on the CPU, or a kernel that ran on a GPU.
struct TimedEvent {
  std::string name;
  uint64_t thread = 0;
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
  int64_t smallest_size = 0;  ///< of the matrices of a product; 0: not known
  bool on_device = false;
  uint64_t correlation = 0;  ///< of a kernel and of the operator that launched it; 0: none
};

/// Time by name.
struct OperatorTime {
  std::string name;
  double milliseconds = 0;  ///< a step
  double calls = 0;         ///< a step
};

/// Where the time of some steps went. Time of nested events counts once, as the inner one's.
struct ProfileReport {
  int64_t num_steps = 0;
  double milliseconds = 0;                                  ///< a step
  std::array<double, kTimeKinds.entries.size()> by_kind{};  ///< milliseconds a step, in the order of kTimeKinds
  std::vector<OperatorTime> slowest;                        ///< the slowest first
};

/// Adds up what happened within the events named kStepScope: the time of the thread that stepped, or, if there are kernels,
/// theirs, and what is left of the steps as other. An event's kind is by its name, within attention, the loss, the optimiser
/// and the data by theirs; a matrix product with a side of at most `low_rank` is LoRA's.
ProfileReport summarize(const std::vector<TimedEvent>& events, int64_t low_rank);

/// The report as a table, a line each.
std::vector<std::string> report_lines(const ProfileReport& report, int64_t first_step);

}  // namespace lora::train

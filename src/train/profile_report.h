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
  int64_t smallest_size = 0;  ///< of the matrices of a product; 0: unknown
  bool on_device = false;
  uint64_t correlation = 0;  ///< of a kernel and of the operator that launched it; 0: none
};

/// Time by name.
struct OperatorTime {
  std::string name;
  double milliseconds = 0;  ///< per step
  double calls = 0;         ///< per step
};

/// Where the time of some steps went. The time of nested events is counted once, for the innermost event.
struct ProfileReport {
  int64_t num_steps = 0;
  double milliseconds = 0;                                  ///< per step
  std::array<double, kTimeKinds.entries.size()> by_kind{};  ///< milliseconds per step, in the order of kTimeKinds
  std::vector<OperatorTime> slowest;                        ///< the slowest first
};

/// Adds up the events within those named kStepScope: the time of the thread that runs the steps, or, if there are kernels, their time
/// and the rest of the steps as other. An event's kind follows from its name, or is that of the attention, loss, optimiser or data
/// event that contains it; a matrix product with a side of at most `low_rank` belongs to LoRA.
ProfileReport summarize(const std::vector<TimedEvent>& events, int64_t low_rank);

/// The report as a table, one string per line.
std::vector<std::string> report_lines(const ProfileReport& report, int64_t first_step);

}  // namespace lora::train

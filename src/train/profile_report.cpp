#include "train/profile_report.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>
#include <tuple>
#include <unordered_map>

#include "lora/base/text.h"
#include "train/profile_scope.h"

namespace lora::train {

namespace {

constexpr size_t kShown = 12;  // operators

struct NamePattern {
  const char* pattern;
  TimeKind kind;
};

/// Kinds by the names that at::RecordFunction gives operators and nodes of the backward graph. The first match counts.
constexpr NamePattern kPatterns[] = {
    {kDataScope, TimeKind::kData},
    {kOptimizerScope, TimeKind::kOptimizer},
    {kLossScope, TimeKind::kLoss},
    {"*CrossEntropy*", TimeKind::kLoss},
    {"*cross_entropy*", TimeKind::kLoss},
    {"*nll_loss*", TimeKind::kLoss},
    {"*[Aa]ttention*", TimeKind::kAttention},
    {"*lora::ops::*::Project>*", TimeKind::kLora},  // ops/lora_linear.cpp
    {"*lora::ops::*::DoraLinear>*", TimeKind::kLora},
    {"*lora::ops::*::Dropout>*", TimeKind::kLora},  // of adapters, and of base models with their own dropout
    {"aten::mm", TimeKind::kGemm},
    {"lora::gemm", TimeKind::kGemm},
    {"aten::addmm*", TimeKind::kGemm},
    {"aten::bmm*", TimeKind::kGemm},
    {"aten::baddbmm*", TimeKind::kGemm},
    {"aten::linear", TimeKind::kGemm},
    {"aten::matmul", TimeKind::kGemm},
    {"aten::mkldnn_linear*", TimeKind::kGemm},
    {"aten::_grouped_mm", TimeKind::kGemm},
    {"aten::_scaled_mm", TimeKind::kGemm},
};

std::optional<TimeKind> kind_by_name(const std::string& name) {
  for (const NamePattern& entry : kPatterns) {
    if (matches_glob(entry.pattern, name)) {
      return entry.kind;
    }
  }
  return std::nullopt;
}

/// Kinds that include everything that happens within their events.
bool is_whole(TimeKind kind) {
  return kind == TimeKind::kData || kind == TimeKind::kOptimizer || kind == TimeKind::kLoss || kind == TimeKind::kAttention;
}

/// An event and its relation to the others of its thread.
struct Placed {
  const TimedEvent* event = nullptr;
  TimeKind kind = TimeKind::kOther;
  bool in_step = false;
  int64_t self_ns = 0;  ///< without the events within it
};

class Summary {
 public:
  Summary(const std::vector<TimedEvent>& events, int64_t low_rank) : low_rank_(low_rank) {
    std::vector<const TimedEvent*> sorted;
    for (const TimedEvent& event : events) {
      (event.on_device ? kernels_ : sorted).push_back(&event);
    }
    // If two begin at the same time, the longer one contains the other.
    std::stable_sort(sorted.begin(), sorted.end(), [](const TimedEvent* a, const TimedEvent* b) {
      return std::tie(a->thread, a->begin_ns, b->end_ns) < std::tie(b->thread, b->begin_ns, a->end_ns);
    });
    place(sorted);
  }

  ProfileReport report() {
    kernels_.empty() ? add_operators() : add_kernels();
    ProfileReport report;
    report.num_steps = num_steps_;
    const double to_milliseconds = 1e-6 / static_cast<double>(std::max<int64_t>(1, num_steps_));
    report.milliseconds = static_cast<double>(step_ns_) * to_milliseconds;
    for (size_t i = 0; i < report.by_kind.size(); ++i) {
      report.by_kind[i] = static_cast<double>(ns_by_kind_[i]) * to_milliseconds;
    }
    for (const auto& [name, total] : by_name_) {
      report.slowest.push_back({name, static_cast<double>(total.ns) * to_milliseconds,
                                static_cast<double>(total.calls) / static_cast<double>(std::max<int64_t>(1, num_steps_))});
    }
    std::stable_sort(report.slowest.begin(), report.slowest.end(),
                     [](const OperatorTime& a, const OperatorTime& b) { return a.milliseconds > b.milliseconds; });
    return report;
  }

 private:
  struct Total {
    int64_t ns = 0;
    int64_t calls = 0;
  };

  void place(const std::vector<const TimedEvent*>& sorted) {
    placed_.reserve(sorted.size());
    std::vector<size_t> open;  // events that contain the next one, outermost first
    for (const TimedEvent* event : sorted) {
      while (!open.empty() && (placed_[open.back()].event->thread != event->thread || placed_[open.back()].event->end_ns < event->end_ns)) {
        open.pop_back();
      }
      const Placed* parent = open.empty() ? nullptr : &placed_[open.back()];
      const bool is_step = event->name == kStepScope;
      const Placed placed{event, kind_of(*event, parent), is_step || (parent != nullptr && parent->in_step),
                          event->end_ns - event->begin_ns};
      if (parent != nullptr) {
        placed_[open.back()].self_ns -= placed.self_ns;
      }
      if (is_step) {
        ++num_steps_;
        step_ns_ += placed.self_ns;
      }
      open.push_back(placed_.size());
      placed_.push_back(placed);
    }
  }

  TimeKind kind_of(const TimedEvent& event, const Placed* parent) const {
    const TimeKind outer = parent != nullptr ? parent->kind : TimeKind::kOther;
    if (is_whole(outer)) {
      return outer;
    }
    const TimeKind kind = kind_by_name(event.name).value_or(outer);
    const bool is_narrow = event.smallest_size > 0 && event.smallest_size <= low_rank_;
    return kind == TimeKind::kGemm && is_narrow ? TimeKind::kLora : kind;
  }

  void add(const std::string& name, TimeKind kind, int64_t ns) {
    ns_by_kind_[static_cast<size_t>(kind)] += ns;
    Total& total = by_name_[name];
    total.ns += ns;
    ++total.calls;
  }

  void add_operators() {
    for (const Placed& placed : placed_) {
      if (placed.in_step) {
        add(placed.event->name == kStepScope ? "(between operators)" : placed.event->name, placed.kind, placed.self_ns);
      }
    }
  }

  /// A kernel has the kind of the operator that launched it, on any thread. Time without a kernel is other.
  void add_kernels() {
    std::unordered_map<uint64_t, TimeKind> launched;
    for (const Placed& placed : placed_) {
      if (placed.event->correlation != 0) {
        launched.emplace(placed.event->correlation, placed.kind);
      }
    }
    int64_t left = step_ns_;
    for (const TimedEvent* kernel : kernels_) {
      const auto found = launched.find(kernel->correlation);
      const int64_t ns = kernel->end_ns - kernel->begin_ns;
      add(kernel->name, found == launched.end() ? TimeKind::kOther : found->second, ns);
      left -= ns;
    }
    if (left > 0) {
      add("(no kernel)", TimeKind::kOther, left);
    }
  }

  int64_t low_rank_;
  std::vector<const TimedEvent*> kernels_;
  std::vector<Placed> placed_;
  int64_t num_steps_ = 0;
  int64_t step_ns_ = 0;
  std::array<int64_t, kTimeKinds.entries.size()> ns_by_kind_{};
  std::map<std::string, Total> by_name_;
};

std::string row(const std::string& name, double milliseconds, const std::string& last) {
  std::array<char, 128> numbers{};
  std::snprintf(numbers.data(), numbers.size(), "%12.3f ms  ", milliseconds);
  const std::string shown = printable(name, 60);
  return "  " + shown + std::string(shown.size() < 62 ? 62 - shown.size() : 1, ' ') + numbers.data() + last;
}

std::string formatted(const char* format, double value) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

}  // namespace

ProfileReport summarize(const std::vector<TimedEvent>& events, int64_t low_rank) {
  return Summary(events, low_rank).report();
}

std::vector<std::string> report_lines(const ProfileReport& report, int64_t first_step) {
  std::vector<std::string> lines;
  const int64_t last_step = first_step + report.num_steps - 1;
  lines.push_back("Profile of steps " + std::to_string(first_step) + " to " + std::to_string(last_step) + ", per step:");
  lines.push_back(row("total", report.milliseconds, "100.0 %"));
  for (size_t i = 0; i < report.by_kind.size(); ++i) {
    const double share = report.milliseconds > 0 ? 100 * report.by_kind[i] / report.milliseconds : 0;
    lines.push_back(row(std::string(kTimeKinds.entries[i].name), report.by_kind[i], formatted("%5.1f %%", share)));
  }
  lines.emplace_back("Slowest operators, without nested ones, per step:");
  for (size_t i = 0; i < std::min(kShown, report.slowest.size()); ++i) {
    const OperatorTime& each = report.slowest[i];
    lines.push_back(row(each.name, each.milliseconds, formatted("%8.1f calls", each.calls)));
  }
  return lines;
}

}  // namespace lora::train

#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "peft/formula.h"

namespace lora::peft {

/// AdaLoRA's choice of ranks (Zhang et al. 2023, sections 3.2 and 3.3), as PEFT computes it: each step measures how much the loss depends
/// on each number of a pair; at some steps the ranks that matter least are removed, in all modules together, by setting their singular
/// value to 0. Gradients may revive them until the next removal; after the last one they stay removed.
class RankBudget : public FormulaTraining {
 public:
  explicit RankBudget(AdaLoraOptions options) : options_(std::move(options)) {}

  double add_loss() override;
  void after_update(int64_t step, std::optional<double> gradient_scale) override;

  void watch(const std::vector<FormulaUpdate>& updates) override;
  void plan(int64_t total_steps) override;
  void shorten(std::vector<io::NamedTensor>& tensors) const override;
  void save(const std::filesystem::path& folder) const override;
  void load(const std::filesystem::path& folder, PartTensors& stored) override;

  /// Which of init_r ranks each module has kept; empty: none has been removed yet.
  std::map<std::string, std::vector<bool>> rank_pattern() const;
  /// The length of the schedule, as far as it is known.
  int64_t total_step() const;

 private:
  /// One trained tensor, with means over the steps: of |value · gradient|, and of how far this is from its mean.
  struct Part {
    std::string name;  ///< "lora_A"
    Tensor tensor;
    Tensor sensitivity;  ///< undefined: nothing was measured yet
    Tensor uncertainty;

    Tensor importance() const { return sensitivity * uncertainty; }
  };
  struct Module {
    std::string name;
    Part A_RI, E_R1, B_OR;
    Tensor kept_R;  ///< bool; undefined: all

    std::vector<Part*> parts() { return {&A_RI, &E_R1, &B_OR}; }
    std::vector<const Part*> parts() const { return {&A_RI, &E_R1, &B_OR}; }
    int64_t rank() const { return E_R1.tensor.size(0); }
  };

  /// The number of ranks after a step of the schedule.
  int64_t budget(int64_t step) const;
  int64_t initial_budget() const;
  void measure(Part& part, double gradient_scale) const;
  void remove_down_to(int64_t budget);
  void set_removed_to_zero();

  AdaLoraOptions options_;
  int64_t total_steps_ = 0;  ///< 0: not planned
  std::vector<Module> modules_;
};

}  // namespace lora::peft

#pragma once
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/io/tensors.h"
#include "lora/nn/projection_change.h"
#include "lora/nn/step_rule.h"
#include "lora/peft/formula_options.h"
#include "lora/peft/update.h"

// Methods that change each projection by a formula over a few tensors of its own (LoHa, OFT, IA3, …). A method is a Formula: the tensors,
// their first values, and the change that they make. Attaching, files and merging are the same for all of them (formula_method.cpp).
namespace lora::peft {

using at::Tensor;

/// A projection, as a formula sees it.
struct ProjectionFacts {
  std::string module;
  int64_t inputs;
  int64_t outputs;
};

/// Writes a tensor's first values. float32, on the CPU.
using FirstValues = std::function<void(const Tensor& tensor, const at::Generator& generator)>;
FirstValues constant(double value);
FirstValues standard_normal();
/// U(-1/√columns, 1/√columns): PyTorch's kaiming_uniform_ with a = √5.
FirstValues kaiming();

/// A trained tensor of a formula for one projection.
struct FormulaPart {
  std::string name;  ///< in PEFT's file, after the module's name: "hada_w1_a", "oft_R.weight"
  std::vector<int64_t> shape;
  FirstValues start;
};

/// The tensors of one projection by the names of their parts.
using PartTensors = std::map<std::string, Tensor>;

/// The tensor of this name. Throws model Error if a file lacks it.
const Tensor& formula_part(const PartTensors& tensors, const std::string& module, const std::string& name);

/// What a formula does around the updates of its tensors while it is trained (AdaLoRA). A file may hold less of the tensors than training
/// needs, so that a run continues from a file of its own next to PEFT's.
class FormulaTraining : public nn::StepRule {
 public:
  /// The modules with their trained tensors. Called once, before everything else.
  virtual void watch(const std::vector<FormulaUpdate>& updates) = 0;
  /// The number of updates in the run. Throws config Error if they are too few.
  virtual void plan(int64_t total_steps) = 0;
  /// Leaves of the tensors, under PEFT's keys, what PEFT's file holds.
  virtual void shorten(std::vector<io::NamedTensor>& tensors) const = 0;
  virtual void save(const std::filesystem::path& folder) const = 0;
  /// Loads what save() has saved. Replaces the shortened tensors among `stored` (by module and part) by the whole ones.
  virtual void load(const std::filesystem::path& folder, PartTensors& stored) = 0;
};

class Formula {
 public:
  virtual ~Formula() = default;

  virtual std::string name() const = 0;  ///< "LoHa"
  /// Whether PEFT has it for Conv1D.
  virtual bool takes_conv1d() const { return false; }
  /// Used if target_modules is null. @param of_lora the family's default for LoRA, which most methods share.
  virtual std::vector<std::string> default_targets(const std::vector<std::string>& of_lora) const { return of_lora; }
  /// Warns of options with which new values, of no file, have an effect that a user may not expect. Called when they are created.
  virtual void warn_of_start() const {}
  /// Adds keys without which PEFT would not read the adapter as it is meant.
  virtual void complete(nlohmann::json&) const {}
  /// The tensors for a projection. Throws config Error for one that the method cannot change with these options, and model Error for one
  /// that the shared tensors of a file do not fit.
  virtual std::vector<FormulaPart> parts(const ProjectionFacts& projection) const = 0;
  /// The change that these tensors, which are those of parts(), make. Throws model Error for one that is missing.
  virtual std::shared_ptr<const nn::ProjectionChange> change(const std::string& module, const PartTensors& tensors) const = 0;

  /// Creates the fixed tensors that all projections share. Called before change() when there is no file that holds them.
  virtual void create_shared(const std::vector<ProjectionFacts>&) {}
  /// Takes them from a file, by name; throws model Error for one that is missing or misshapen.
  virtual void take_shared(const PartTensors&) {}
  /// Moves them to the device of the base, before change().
  virtual void move_shared(at::Device) {}
  /// Those of them that a file holds, under "base_model.".
  virtual std::vector<io::NamedTensor> shared() const { return {}; }

  /// Null: there is nothing but the tensors.
  virtual FormulaTraining* training() { return nullptr; }
};

std::unique_ptr<Formula> formula_of(const Ia3Options& options);
std::unique_ptr<Formula> formula_of(const VeraOptions& options);
std::unique_ptr<Formula> formula_of(const LohaOptions& options);
std::unique_ptr<Formula> formula_of(const LokrOptions& options);
std::unique_ptr<Formula> formula_of(const OftOptions& options);
std::unique_ptr<Formula> formula_of(const BoftOptions& options);
std::unique_ptr<Formula> formula_of(const HraOptions& options);
std::unique_ptr<Formula> formula_of(const MissOptions& options);
std::unique_ptr<Formula> formula_of(const RandLoraOptions& options);
std::unique_ptr<Formula> formula_of(const AdaLoraOptions& options);

}  // namespace lora::peft

#pragma once
#include <string>
#include <vector>

#include "lora/nn/model.h"

namespace lora::nn {

/// Makes the adapter of this name the only one in use on the model's hosts and taps; "": none, the bare model.
void use_adapter(Model& model, const std::string& name);

/// Makes several adapters the only ones in use, whose changes add up; none: the bare model. Throws config Error naming the weight if there
/// are several and one of them replaces a weight, as only one value of it can be in use.
void use_adapters(Model& model, const std::vector<std::string>& names);

/// The adapter in use; "": none.
std::string adapter_in_use(const Model& model);

/// Makes another adapter the one in use during the lifetime of this object; "": the bare model. A pass that is computed meanwhile must not
/// be recomputed in backward, and no other thread may compute one.
class AdapterScope {
 public:
  /// The model must outlive this.
  AdapterScope(Model& model, const std::string& name);
  ~AdapterScope();
  AdapterScope(const AdapterScope&) = delete;
  AdapterScope& operator=(const AdapterScope&) = delete;

 private:
  Model& model_;
  std::string before_;
};

/// Multiplies the scale of this adapter's low-rank pairs, as PEFT's set_scale does.
void scale_adapter(Model& model, const std::string& name, double factor);

/// Removes everything that is attached to the model's hosts and taps.
void remove_adapters(Model& model);

}  // namespace lora::nn

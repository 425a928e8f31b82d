#include "app/inspect_formulas.h"

#include <ATen/ATen.h>

#include "app/text_table.h"
#include "lora/base/text.h"

namespace lora::app {

Json formula_modules(const peft::Adapter& adapter) {
  Json modules = Json::array();
  for (const peft::FormulaUpdate& update : peft::of_kind<peft::FormulaUpdate>(adapter.updates)) {
    Json tensors = Json::array();
    for (const io::NamedTensor& part : update.change->tensors()) {
      tensors.push_back({{"name", part.name},
                         {"shape", part.tensor.sizes().vec()},
                         {"norm", at::linalg_vector_norm(part.tensor.detach().to(at::kDouble)).item<double>()}});
    }
    modules.push_back({{"module", update.module}, {"num_parameters", peft::num_parameters(update)}, {"tensors", std::move(tensors)}});
  }
  return modules;
}

std::string formula_text(const Json& modules) {
  TextTable table;
  table.add({"module", "tensor", "shape", "norm"});
  for (const Json& module : modules) {
    for (const Json& tensor : module["tensors"]) {
      table.add({module["module"].get<std::string>(), tensor["name"].get<std::string>(), tensor["shape"].dump(),
                 short_number(tensor["norm"].get<double>())});
    }
  }
  return table.text() + "All norms are Frobenius norms.\n";
}

}  // namespace lora::app

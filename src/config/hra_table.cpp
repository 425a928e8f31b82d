#include "config/formula_fields.h"

namespace lora::config {

void add_keys(Table<peft::HraOptions>& table) {
  add_rank(table, "Number of reflections; an even number starts as the unchanged model.");
  table.value(
      "apply_GS", [](auto& o) -> auto& { return o.apply_GS; }, boolean(), "Orthonormalise the directions (Gram-Schmidt).");
  add_exclusion(table);
  add_init_weights(table);
  add_bias(table, "hra_only");
}

}  // namespace lora::config

#include "config/formula_fields.h"

namespace lora::config {

void add_keys(Table<peft::LohaOptions>& table) {
  add_lycoris_keys(table);
  add_init_weights(table);
}

}  // namespace lora::config

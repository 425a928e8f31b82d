#include "lora/io/tensor_facts.h"

#include "lora/base/text.h"

namespace lora::io {

std::string shape_text(at::IntArrayRef shape) {
  std::vector<std::string> sizes;
  for (const int64_t size : shape) {
    sizes.push_back(std::to_string(size));
  }
  return "[" + join(sizes) + "]";
}

std::string some_names(const std::vector<std::string>& names) {
  std::vector<std::string> shown;
  for (const std::string& name : names) {
    shown.push_back(printable(name, 80));
  }
  return join(shown, ", ", 2);
}

bool is_plain_float(at::ScalarType dtype) {
  return dtype == at::kFloat || dtype == at::kBFloat16 || dtype == at::kHalf || dtype == at::kDouble;
}

}  // namespace lora::io

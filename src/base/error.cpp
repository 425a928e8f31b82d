#include "lora/base/error.h"

namespace lora {

void config_error(const std::string& where, const std::string& message) {
  throw Error(ErrorKind::kConfig, where, message);
}

void data_error(const std::string& where, const std::string& message) {
  throw Error(ErrorKind::kData, where, message);
}

void model_error(const std::string& where, const std::string& message) {
  throw Error(ErrorKind::kModel, where, message);
}

void output_error(const std::string& where, const std::string& message) {
  throw Error(ErrorKind::kOutput, where, message);
}

}  // namespace lora

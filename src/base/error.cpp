#include "lora/base/error.h"

#include "lora/base/terminal.h"

namespace lora {

void config_error(const std::string& where, const std::string& message) {
  throw Error(ErrorKind::kConfig, terminal::visible_line(where), terminal::visible_line(message));
}

void data_error(const std::string& where, const std::string& message) {
  throw Error(ErrorKind::kData, terminal::visible_line(where), terminal::visible_line(message));
}

void model_error(const std::string& where, const std::string& message) {
  throw Error(ErrorKind::kModel, terminal::visible_line(where), terminal::visible_line(message));
}

void output_error(const std::string& where, const std::string& message) {
  throw Error(ErrorKind::kOutput, terminal::visible_line(where), terminal::visible_line(message));
}

}  // namespace lora

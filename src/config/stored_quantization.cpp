#include "lora/config/stored_quantization.h"

#include "config/quantization_field.h"
#include "lora/base/error.h"
#include "lora/base/json.h"
#include "lora/base/text.h"
#include "lora/io/dtype_name.h"

namespace lora::config {

namespace {

constexpr const char* kDtype = "dtype";

}  // namespace

std::string quantization_settings(const models::Quantization& quantization, c10::ScalarType dtype) {
  models::ModelOptions options;
  options.quantization = quantization;
  Json settings = quantization_field().show(options);
  settings[kDtype] = io::dtype_name(dtype);
  return settings.dump();
}

StoredQuantization read_quantization_settings(const std::string& settings, const std::string& where) {
  const std::string place = where + ": metadata base_quantization_settings";
  Json section = parse_json(settings, place, ErrorKind::kModel);
  const Json name = section.is_object() ? section.value(kDtype, Json()) : Json();
  const auto dtype = name.is_string() ? models::kComputeDtypes.find(name.get<std::string>()) : std::nullopt;
  if (!dtype || *dtype == models::ComputeDtype::kAuto) {
    model_error(place, "dtype: found " + shown(name) + ", expected float32, bfloat16 or float16");
  }
  section.erase(kDtype);
  Findings findings;
  models::ModelOptions options;
  quantization_field().read(section, options, ConfigPlace{place, findings});
  findings.throw_if_any(ErrorKind::kModel);
  if (!options.quantises()) {
    model_error(place, "type: found \"none\", expected nf4, fp4 or int8");
  }
  return {*options.quantization, *dtype};
}

}  // namespace lora::config

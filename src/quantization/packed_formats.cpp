#include "quantization/packed_formats.h"

#include <algorithm>
#include <array>

#include "lora/base/error.h"
#include "lora/base/text.h"
#include "lora/quantization/packed_checkpoint.h"

namespace lora::quantization {

namespace {

constexpr const char* kMethodKey = "quant_method";

struct PackedMethod {
  const char* quant_method;
  MakeFormat* make;
};

/// Every way of packing that is read.
constexpr std::array<PackedMethod, 7> kMethods{{
    {"auto-round", make_auto_round},
    {"awq", make_awq},
    {"bitsandbytes", make_bitsandbytes},
    {"compressed-tensors", make_compressed_tensors},
    {"fp8", make_fp8},
    {"gptq", make_gptq},
    {"hqq", make_hqq},
}};

/// The quant_method; old files of bitsandbytes have none. Empty: not known.
std::string method_of(const JsonReader& section) {
  const bool is_old = section.boolean("load_in_4bit", false) || section.boolean("load_in_8bit", false);
  return section.string(kMethodKey, is_old ? "bitsandbytes" : "");
}

const PackedMethod* find_method(const std::string& name) {
  const auto* found = std::find_if(kMethods.begin(), kMethods.end(), [&](const auto& method) { return method.quant_method == name; });
  return found == kMethods.end() ? nullptr : found;
}

}  // namespace

std::vector<std::string> known_quant_methods() {
  std::vector<std::string> names;
  for (const PackedMethod& method : kMethods) {
    names.emplace_back(method.quant_method);
  }
  return names;
}

bool is_known_method(const JsonReader& section) {
  return find_method(method_of(section)) != nullptr;
}

std::unique_ptr<PackedFormat> make_format(const JsonReader& section) {
  const PackedMethod* const method = find_method(method_of(section));
  if (method == nullptr) {
    section.fail(kMethodKey, "one of " + join(known_quant_methods()));
  }
  return method->make(section);
}

std::unique_ptr<PackedFormat> make_auto_round(const JsonReader& section) {
  const std::string packing = section.string("packing_format", "auto_round");
  if (packing == "auto_round" || packing == "auto_round:gptqmodel") {
    return make_gptq_of(section, /*adds_one=*/false);
  }
  if (packing == "auto_round:auto_gptq") {
    return make_gptq_of(section, /*adds_one=*/true);
  }
  if (packing == "auto_round:auto_awq") {
    return make_awq(section);
  }
  section.fail("packing_format", "auto_round, auto_round:gptqmodel, auto_round:auto_gptq or auto_round:auto_awq");
}

}  // namespace lora::quantization

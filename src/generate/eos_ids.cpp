#include "lora/generate/eos_ids.h"

#include "lora/base/bundle.h"

namespace lora::generate {

namespace {

constexpr const char* kKey = "eos_token_id";

/// No value if the key is missing or null.
std::optional<std::vector<int32_t>> read_eos_ids(const Json& config, const std::string& where) {
  const JsonReader reader(config, where, ErrorKind::kModel);
  if (!reader.has(kKey)) {
    return std::nullopt;
  }
  const Json& value = reader.at(kKey);
  const Json ids = value.is_array() ? value : Json::array({value});
  std::vector<int32_t> result;
  for (const Json& id : ids) {
    if (!id.is_number_integer() || id < INT32_MIN || id > INT32_MAX) {
      reader.fail(kKey, "a token id or a list of them");
    }
    result.push_back(id.get<int32_t>());
  }
  return result;
}

}  // namespace

std::vector<int32_t> find_eos_ids(const std::filesystem::path& folder, const Json& config, std::optional<int32_t> tokenizer_eos) {
  const std::filesystem::path file = folder / "generation_config.json";
  if (is_file(file)) {
    if (const auto ids = read_eos_ids(read_json(file, ErrorKind::kModel), file.string())) {
      return *ids;
    }
  }
  if (const auto ids = read_eos_ids(config, (folder / "config.json").string())) {
    return *ids;
  }
  return tokenizer_eos ? std::vector<int32_t>{*tokenizer_eos} : std::vector<int32_t>{};
}

}  // namespace lora::generate

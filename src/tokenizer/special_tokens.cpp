#include "tokenizer/special_tokens.h"

#include <charconv>

#include "lora/base/json.h"
#include "lora/base/text.h"

namespace lora::tokenizer {

std::string token_content(const Json& token, const std::string& key, const std::string& where) {
  if (token.is_string()) {
    return token.get<std::string>();
  }
  if (token.is_object() && token.contains("content") && token["content"].is_string()) {
    return token["content"].get<std::string>();
  }
  model_error(where, key + ": found " + type_name(token) + ", expected a string or an object with a string \"content\".");
}

void for_each_added_token(const Json& tokens, const std::string& where,
                          const std::function<void(int64_t id, const std::string& key, const Json& token)>& take) {
  if (!tokens.is_object()) {
    model_error(where, "added_tokens_decoder: found " + type_name(tokens) + ", expected an object of ids and tokens.");
  }
  for (const auto& [key, token] : tokens.items()) {
    int64_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size()) {
      model_error(where, "added_tokens_decoder: found the key " + printable(key) + ", expected an id.");
    }
    take(id, key, token);
  }
}

namespace {

constexpr int64_t kMaxId = int64_t{1} << 30;

class Reader {
 public:
  Reader(const std::filesystem::path& folder, const Vocabulary& vocabulary) : folder_(folder), vocabulary_(vocabulary) {
    special_.bos = vocabulary.bos;
    special_.eos = vocabulary.eos;
  }

  SpecialTokens read() {
    read_added_tokens();
    const std::filesystem::path file = folder_ / "tokenizer_config.json";
    if (std::filesystem::is_regular_file(file)) {
      read_config(read_json(file, ErrorKind::kModel), file.string());
      special_.files.push_back(file);
    }
    special_.add_bos = special_.add_bos && special_.bos.has_value();
    return std::move(special_);
  }

 private:
  // {"<pad>": 32000, ...}, the older of the two places.
  void read_added_tokens() {
    const std::filesystem::path file = folder_ / "added_tokens.json";
    if (!std::filesystem::is_regular_file(file)) {
      return;
    }
    const Json tokens = read_json(file, ErrorKind::kModel);
    if (!tokens.is_object()) {
      model_error(file.string(), "found " + type_name(tokens) + ", expected an object of token names and ids.");
    }
    for (const auto& [name, id] : tokens.items()) {
      if (!id.is_number_integer()) {
        model_error(file.string(), printable(name) + ": found " + shown(id) + ", expected an id.");
      }
      add(id.get<int64_t>(), name, file.string());
    }
    special_.files.push_back(file);
  }

  void read_config(const Json& config, const std::string& where) {
    const JsonReader reader(config, where, ErrorKind::kModel);
    if (reader.has("added_tokens_decoder")) {
      for_each_added_token(reader.at("added_tokens_decoder"), where, [&](int64_t id, const std::string& key, const Json& token) {
        add(id, token_content(token, "added_tokens_decoder." + key, where), where);
      });
    }
    read_token(config, "bos_token", special_.bos, where);
    read_token(config, "eos_token", special_.eos, where);
    special_.add_bos = reader.boolean("add_bos_token", true);
    special_.add_eos = reader.boolean("add_eos_token", false);
    if (special_.add_eos && !special_.eos) {
      model_error(where, "add_eos_token is true, and there is no EOS token. Name one as eos_token.");
    }
  }

  void add(int64_t id, const std::string& name, const std::string& where) {
    if (id < 0 || id >= kMaxId) {
      model_error(where, "the added token " + printable(name) + " has the impossible id " + std::to_string(id) + ".");
    }
    if (id >= vocabulary_.num_pieces) {
      special_.added[static_cast<int32_t>(id)] = name;
    }
  }

  void read_token(const Json& config, const std::string& key, std::optional<int32_t>& id, const std::string& where) const {
    if (!config.contains(key)) {
      return;
    }
    if (config[key].is_null()) {
      id.reset();
      return;
    }
    const std::string name = token_content(config[key], key, where);
    id = find(name);
    if (!id) {
      model_error(where, key + " is " + printable(name) + ", which is no token of tokenizer.model or of the added tokens. " +
                             "Likely cause: files of two models in one folder.");
    }
  }

  std::optional<int32_t> find(const std::string& name) const {
    for (const auto& [id, added] : special_.added) {
      if (added == name) {
        return id;
      }
    }
    return vocabulary_.find(name);
  }

  std::filesystem::path folder_;
  const Vocabulary& vocabulary_;
  SpecialTokens special_;
};

}  // namespace

SpecialTokens read_special_tokens(const std::filesystem::path& folder, const Vocabulary& vocabulary) {
  return Reader(folder, vocabulary).read();
}

}  // namespace lora::tokenizer

#include <algorithm>

#include "tokenizer/json/component.h"
#include "tokenizer/json/post_processor.h"

namespace lora::tokenizer {
namespace {

constexpr int32_t kText = -1;  // stands for the text in before() and after()

int32_t read_id(const Json& id, const JsonReader& reader, const std::string& key) {
  if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= kMaxTokenId) {
    reader.fail(key, "ids of tokens");
  }
  return id.get<int32_t>();
}

/// The ids that a template's special token stands for.
std::vector<int32_t> read_special(const JsonReader& reader, const std::string& name) {
  const Json& specials = reader.at("special_tokens");
  const auto found = specials.is_object() ? specials.find(name) : specials.end();
  if (found == specials.end()) {
    model_error(reader.where() + ".single", "the template names the special token " + printable(name) +
                                                ", which special_tokens does not define. Likely cause: a damaged file.");
  }
  const JsonReader special(*found, reader.where() + ".special_tokens." + name, ErrorKind::kModel);
  const Json& ids = special.at("ids");
  if (!ids.is_array()) {
    special.fail("ids", "an array of ids");
  }
  std::vector<int32_t> result;
  for (const Json& id : ids) {
    result.push_back(read_id(id, special, "ids"));
  }
  return result;
}

/// The id of [token, id].
int32_t read_named(const JsonReader& reader, const std::string& key) {
  const Json& pair = reader.at(key);
  if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string()) {
    reader.fail(key, "[token, id]");
  }
  return read_id(pair[1], reader, key);
}

}  // namespace

PostProcessors::PostProcessors(const Json& section, const std::string& where) {
  for_each_component(section, "processors", where, [this](const std::string& type, const JsonReader& reader) { read(type, reader); });
}

void PostProcessors::read(const std::string& type, const JsonReader& reader) {
  struct Kind {
    const char* type;
    Template (*read)(const JsonReader& reader);
  };
  // ByteLevel moves offsets alone, and there are none here.
  constexpr auto kNothing = [](const JsonReader&) { return Template{{true, {}}}; };
  static const Kind kKinds[] = {
      {"TemplateProcessing", read_template}, {"BertProcessing", read_around}, {"RobertaProcessing", read_around}, {"ByteLevel", kNothing}};
  templates_.push_back(find_kind(kKinds, type, reader.where()).read(reader));
}

PostProcessors::Template PostProcessors::read_template(const JsonReader& reader) {
  const Json& parts = reader.at("single");
  if (!parts.is_array()) {
    reader.fail("single", "an array of parts");
  }
  Template result;
  for (size_t i = 0; i < parts.size(); ++i) {
    const JsonReader part(parts[i], reader.where() + ".single[" + std::to_string(i) + "]", ErrorKind::kModel);
    if (part.has("SpecialToken")) {
      result.push_back({false, read_special(reader, part.object("SpecialToken").string("id"))});
    } else if (part.object("Sequence").string("id") == "A") {
      result.push_back({true, {}});
    } else {
      part.fail("Sequence", "the sequence A: a single text has no other");
    }
  }
  return result;
}

PostProcessors::Template PostProcessors::read_around(const JsonReader& reader) {
  return {{false, {read_named(reader, "cls")}}, {true, {}}, {false, {read_named(reader, "sep")}}};
}

std::vector<int32_t> PostProcessors::process(std::vector<int32_t> ids, bool add_special_tokens) const {
  for (const Template& parts : templates_) {
    std::vector<int32_t> result;
    for (const Part& part : parts) {
      if (part.is_text) {
        result.insert(result.end(), ids.begin(), ids.end());
      } else if (add_special_tokens) {
        result.insert(result.end(), part.ids.begin(), part.ids.end());
      }
    }
    ids = std::move(result);
  }
  return ids;
}

std::vector<int32_t> PostProcessors::before() const {
  std::vector<int32_t> ids = process({kText}, true);
  ids.erase(std::find(ids.begin(), ids.end(), kText), ids.end());
  return ids;
}

std::vector<int32_t> PostProcessors::after() const {
  std::vector<int32_t> ids = process({kText}, true);
  const auto last = std::find(ids.rbegin(), ids.rend(), kText);
  ids.erase(ids.begin(), last.base());
  return ids;
}

}  // namespace lora::tokenizer

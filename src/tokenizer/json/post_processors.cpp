#include <algorithm>

#include "tokenizer/json/component.h"
#include "tokenizer/json/post_processor.h"

namespace lora::tokenizer {
namespace {

constexpr int32_t kText = -1;  // represents the text in before() and after()

int32_t read_id(const Json& id, const JsonReader& reader, const std::string& key) {
  if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= kMaxTokenId) {
    reader.fail(key, "ids of tokens");
  }
  return id.get<int32_t>();
}

/// The ids of a template's special token.
std::vector<int32_t> read_special(const JsonReader& reader, const std::string& key, const std::string& name) {
  const Json& specials = reader.at("special_tokens");
  const auto found = specials.is_object() ? specials.find(name) : specials.end();
  if (found == specials.end()) {
    model_error(reader.where() + "." + key, "the template names the special token " + printable(name) +
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
  // ByteLevel only changes offsets, which are not used here.
  constexpr auto kNothing = [](const JsonReader&) { return Template{{{Text::kFirst, {}}}, {{Text::kFirst, {}}, {Text::kSecond, {}, 1}}}; };
  static const Kind kKinds[] = {
      {"TemplateProcessing", read_template}, {"BertProcessing", read_bert}, {"RobertaProcessing", read_roberta}, {"ByteLevel", kNothing}};
  templates_.push_back(find_kind(kKinds, type, reader.where()).read(reader));
}

PostProcessors::Parts PostProcessors::read_parts(const JsonReader& reader, const std::string& key) {
  const Json& parts = reader.at(key);
  if (!parts.is_array()) {
    reader.fail(key, "an array of parts");
  }
  Parts result;
  for (size_t i = 0; i < parts.size(); ++i) {
    const JsonReader part(parts[i], reader.where() + "." + key + "[" + std::to_string(i) + "]", ErrorKind::kModel);
    const bool is_special = part.has("SpecialToken");
    const JsonReader own = part.object(is_special ? "SpecialToken" : "Sequence");
    const auto type = static_cast<int32_t>(own.integer("type_id", 0));
    const std::string id = own.string("id");
    if (is_special) {
      result.push_back({Text::kNone, read_special(reader, key, id), type});
    } else if (id == "A" || (id == "B" && key == "pair")) {
      result.push_back({id == "A" ? Text::kFirst : Text::kSecond, {}, type});
    } else {
      part.fail("Sequence", key == "pair" ? "the sequence A or B" : "the sequence A, the only one of a single text");
    }
  }
  return result;
}

PostProcessors::Template PostProcessors::read_template(const JsonReader& reader) {
  return {read_parts(reader, "single"), reader.has("pair") && !reader.at("pair").empty()
                                            ? read_parts(reader, "pair")
                                            : Parts{{Text::kFirst, {}}, {Text::kSecond, {}, 1}}};
}

PostProcessors::Template PostProcessors::read_bert(const JsonReader& reader) {
  const std::vector<int32_t> cls{read_named(reader, "cls")}, sep{read_named(reader, "sep")};
  const Parts single{{Text::kNone, cls}, {Text::kFirst, {}}, {Text::kNone, sep}};
  return {single, {single[0], single[1], single[2], {Text::kSecond, {}, 1}, {Text::kNone, sep, 1}}};
}

/// RoBERTa only has one type.
PostProcessors::Template PostProcessors::read_roberta(const JsonReader& reader) {
  const std::vector<int32_t> cls{read_named(reader, "cls")}, sep{read_named(reader, "sep")};
  const Parts single{{Text::kNone, cls}, {Text::kFirst, {}}, {Text::kNone, sep}};
  return {single, {single[0], single[1], single[2], single[2], {Text::kSecond, {}}, single[2]}};
}

std::vector<int32_t> PostProcessors::process(std::vector<int32_t> ids, bool add_special_tokens) const {
  for (const Template& own : templates_) {
    std::vector<int32_t> result;
    for (const TemplatePart& part : own.single) {
      if (part.text == Text::kFirst) {
        result.insert(result.end(), ids.begin(), ids.end());
      } else if (add_special_tokens) {
        result.insert(result.end(), part.ids.begin(), part.ids.end());
      }
    }
    ids = std::move(result);
  }
  return ids;
}

TypedIds PostProcessors::around(const std::vector<int32_t>& first, const std::vector<int32_t>* second) const {
  TypedIds result{first, std::vector<int32_t>(first.size(), 0)};
  if (second != nullptr) {
    result.ids.insert(result.ids.end(), second->begin(), second->end());
    result.types.resize(result.ids.size(), 1);
  }
  // If there are several, only one of them adds tokens (a sequence of ByteLevel and a template); it gets the unchanged texts.
  for (const Template& own : templates_) {
    const Parts& parts = second == nullptr ? own.single : own.pair;
    if (std::all_of(parts.begin(), parts.end(), [](const TemplatePart& part) { return part.ids.empty(); }) && templates_.size() > 1) {
      continue;
    }
    result = {};
    for (const TemplatePart& part : parts) {
      const std::vector<int32_t>& ids = part.text == Text::kNone ? part.ids : part.text == Text::kFirst ? first : *second;
      result.ids.insert(result.ids.end(), ids.begin(), ids.end());
      result.types.resize(result.ids.size(), part.type);
    }
  }
  return result;
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

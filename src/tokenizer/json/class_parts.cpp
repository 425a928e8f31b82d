#include "tokenizer/json/class_parts.h"

#include "tokenizer/space_symbol.h"

namespace lora::tokenizer {
namespace {

const std::string kMetaspace(kSpaceSymbol);

}  // namespace

std::string text_of(const FolderSettings& settings, const char* role) {
  const AddedToken* token = settings.role(role);
  return token != nullptr ? token->content : "";
}

Json sequence_of(const char* parts_key, Json parts) {
  return {{"type", "Sequence"}, {parts_key, std::move(parts)}};
}

Json byte_level(bool add_prefix_space, bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", add_prefix_space}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

Json replace(const std::string& from, const std::string& to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

Json replace_pattern(const char* pattern, const char* to) {
  return {{"type", "Replace"}, {"pattern", {{"Regex", pattern}}}, {"content", to}};
}

Json split_at(const char* pattern, const char* behavior, bool invert) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", behavior}, {"invert", invert}};
}

Json metaspace(const char* prepend_scheme, bool split) {
  return {{"type", "Metaspace"}, {"replacement", kMetaspace}, {"prepend_scheme", prepend_scheme}, {"split", split}};
}

Json space_decoder(bool strips_first) {
  Json parts = Json::array({replace(kMetaspace, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}});
  if (strips_first) {
    parts.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  return sequence_of("decoders", std::move(parts));
}

void set_model(Json& file, const Json& options) {
  Json old = std::move(file["model"]);
  Json& model = file["model"] = options;
  for (const char* key : {"type", "vocab", "merges"}) {
    if (old.contains(key)) {
      model[key] = std::move(old[key]);
    }
  }
}

Json special_part(const std::string& token, int type) {
  return {{"SpecialToken", {{"id", token}, {"type_id", type}}}};
}

Json text_part(const char* name, int type) {
  return {{"Sequence", {{"id", name}, {"type_id", type}}}};
}

Json definitions(const std::vector<std::string>& tokens, const IdOf& id_of) {
  Json specials = Json::object();
  for (const std::string& token : tokens) {
    specials[token] = {{"id", token}, {"ids", Json::array({id_of(token)})}, {"tokens", Json::array({token})}};
  }
  return specials;
}

Json precompiled_of(const Json& normalizer) {
  if (normalizer.is_object() && normalizer.value("type", "") == "Precompiled") {
    return normalizer;
  }
  for (const Json& part : normalizer.is_object() ? normalizer.value("normalizers", Json::array()) : Json::array()) {
    if (const Json found = precompiled_of(part); !found.is_null()) {
      return found;
    }
  }
  return nullptr;
}

AroundText cls_and_sep_around(const FolderSettings& settings) {
  const std::string cls = text_of(settings, "cls_token");
  const std::string sep = text_of(settings, "sep_token");
  return [cls, sep](const IdOf& id_of) -> Json {
    return {{"type", "TemplateProcessing"},
            {"single", Json::array({special_part(cls, 0), text_part("A", 0), special_part(sep, 0)})},
            {"pair", Json::array({special_part(cls, 0), text_part("A", 0), special_part(sep, 0), text_part("B", 1), special_part(sep, 1)})},
            {"special_tokens", definitions({cls, sep}, id_of)}};
  };
}

AroundText around_with_two_separators(const FolderSettings& settings, const char* begin_role, const char* end_role) {
  const std::string begin = text_of(settings, begin_role);
  const std::string end = text_of(settings, end_role);
  return [begin, end](const IdOf& id_of) -> Json {
    const Json first = special_part(begin, 0), last = special_part(end, 0);
    return {{"type", "TemplateProcessing"},
            {"single", Json::array({first, text_part("A", 0), last})},
            {"pair", Json::array({first, text_part("A", 0), last, last, text_part("B", 0), last})},
            {"special_tokens", definitions({begin, end}, id_of)}};
  };
}

AroundText roberta_around(const FolderSettings& settings, const char* begin_role, const char* end_role) {
  const std::string begin = text_of(settings, begin_role);
  const std::string end = text_of(settings, end_role);
  return [begin, end](const IdOf& id_of) -> Json {
    return {{"type", "RobertaProcessing"}, {"sep", Json::array({end, id_of(end)})}, {"cls", Json::array({begin, id_of(begin)})}};
  };
}

AroundText bos_and_eos_around(const FolderSettings& settings) {
  const std::string bos = settings.add_bos_token.value_or(false) ? text_of(settings, "bos_token") : "";
  const std::string eos = settings.add_eos_token.value_or(false) ? text_of(settings, "eos_token") : "";
  if (bos.empty() && eos.empty()) {
    return nullptr;
  }
  std::vector<std::string> named{bos, eos};
  std::erase(named, "");
  return [bos, eos, named](const IdOf& id_of) {
    const auto around = [&](const char* text, int type) {
      Json parts = Json::array();
      if (!bos.empty()) {
        parts.push_back(special_part(bos, type));
      }
      parts.push_back(text_part(text, type));
      if (!eos.empty()) {
        parts.push_back(special_part(eos, type));
      }
      return parts;
    };
    const Json single = around("A", 0);
    Json pair = single;
    for (const Json& part : around("B", 1)) {
      pair.push_back(part);
    }
    return Json{{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", definitions(named, id_of)}};
  };
}

}  // namespace lora::tokenizer

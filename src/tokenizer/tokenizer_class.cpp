#include "tokenizer/tokenizer_class.h"

#include <algorithm>
#include <string_view>

#include "lora/base/bundle.h"
#include "lora/base/input_file.h"

namespace lora::tokenizer {
namespace {

/// Model types and the classes of their tokenizers in transformers' registry.
struct TypeClass {
  std::string_view name;
  std::string_view types;  ///< each between spaces
};
constexpr TypeClass kTypeClasses[] = {
    {"AlbertTokenizer", " albert yoso "},
    {"BertTokenizer",
     " align bark bert blip bros chinese_clip convbert distilbert electra ernie flava git layoutlm megatron-bert mobilebert nezha "
     "nomic_bert qdqbert realm retribert squeezebert tvp vilt visual_bert "},
    {"CamembertTokenizer", " camembert "},
    {"CLIPTokenizer", " aimv2 clip clipseg groupvit owlv2 owlvit xclip "},
    {"CodeLlamaTokenizer", " code_llama "},
    {"CohereTokenizer", " aya_vision cohere cohere2 "},
    {"DebertaTokenizer", " deberta "},
    {"DebertaV2Tokenizer", " deberta-v2 "},
    {"GPT2Tokenizer", " blip-2 codegen dbrx emu3 gpt2 gpt_neo gptj hyperclovax_vision_v2 instructblip jais2 opt phi starcoder2 "},
    {"GPTNeoXTokenizer", " falcon_mamba gpt_neox mamba mamba2 mpt olmo olmoe rwkv xlstm "},
    {"GemmaTokenizer", " diffusion_gemma gemma gemma2 gemma3 gemma3_text gemma3n gemma3n_text recurrent_gemma shieldgemma2 t5gemma zaya "},
    {"LlamaTokenizer", " idefics idefics2 "},
    {"MPNetTokenizer", " mpnet "},
    {"Qwen2Tokenizer",
     " audioflamingo3 colqwen2 internvl ovis2 qwen2 qwen2_5_omni qwen2_5_vl qwen2_audio qwen2_moe qwen2_vl qwen3 qwen3_moe qwen3_next "
     "qwen3_vl qwen3_vl_moe "},
    {"Qwen3_5Tokenizer", " qwen3_5 qwen3_5_moe qwen3_5_moe_text qwen3_5_text qwen4_exp "},
    {"RobertaTokenizer", " bart bridgetower clap data2vec-text ibert lilt longformer mega mra roberta roberta-prelayernorm "},
    {"T5Tokenizer", " mt5 musicgen switch_transformers t5 "},
    {"XLMRobertaTokenizer", " gte jina_embeddings_v3 trocr xlm-roberta xmod "},
    {kPlainClass,
     " aria beam bigbird_pegasus flex_olmo glm glm4 glm4_moe glm4_moe_lite glm4v glm4v_moe got_ocr2 gpt_bigcode granite granitemoe "
     "granitemoehybrid granitemoeshared kimi_k25 kimi_linear mimo_v2_flash ministral ministral3 mistral mistral3 mistral_large4 mixtral "
     "nystromformer olmo2 olmo3 olmo_hybrid pegasus_x persimmon pixtral stablelm umt5 voxtral xlm-roberta-xl arctic camembertv2-base "
     "chatlm cohere_asr ernie4_5 ernie4_5_moe fuyu h2ovl_chat hyperclovax hyperclovax_vlm internlm2 internlm3 iquestcoder jamba llava "
     "llava_next minicpm3 minicpmv minimax_m2 modernbert modernbert-decoder molmo molmo2 nemotron nvfp4 opencua openvla paddleocr_vl phi3 "
     "phi3_v phimoe smolvlm step3_vl vipllava "},
};
/// Types whose published folders often name a wrong class: the class of the registry is used.
constexpr std::string_view kWronglyDeclared = " hyperclovax_vision_v2 qwen2 qwen3_5 qwen3_5_moe qwen3_5_moe_text qwen4_exp ";
/// Mistral's types, whose folders may hold a byte-level tokenizer under any class name.
constexpr std::string_view kMistralTypes = " ministral ministral3 mistral mistral3 mistral_large4 mixtral pixtral voxtral ";

constexpr TypeClass kSameClasses[] = {
    {"BertTokenizer",
     " DPRContextEncoderTokenizer DPRQuestionEncoderTokenizer DistilBertTokenizer ElectraTokenizer LayoutLMTokenizer LxmertTokenizer "
     "MobileBertTokenizer SqueezeBertTokenizer "},
    {"LlamaTokenizer", " Phi3Tokenizer "},
    {"RobertaTokenizer", " BartTokenizer LEDTokenizer LongformerTokenizer MvpTokenizer "},
    {kPlainClass, " PreTrainedTokenizer PythonBackend BloomTokenizer "},
};
constexpr std::string_view kBuiltHere =
    " AlbertTokenizer BertTokenizer CLIPTokenizer CamembertTokenizer CodeGenTokenizer CodeLlamaTokenizer CohereTokenizer "
    "DebertaTokenizer DebertaV2Tokenizer GPT2Tokenizer GPTNeoXTokenizer GemmaTokenizer HerbertTokenizer LlamaTokenizer MPNetTokenizer "
    "Qwen2Tokenizer Qwen3_5Tokenizer RobertaTokenizer T5Tokenizer XLMRobertaTokenizer ";
/// Classes that only take the vocabulary of a tokenizer.json and build everything else themselves.
constexpr std::string_view kForeign =
    " BarthezTokenizer BigBirdTokenizer BlenderbotTokenizer EsmcTokenizer FNetTokenizer FunnelTokenizer LayoutLMv2Tokenizer "
    "LayoutLMv3Tokenizer LayoutXLMTokenizer LukeTokenizer MBart50Tokenizer MBartTokenizer MLukeTokenizer MarkupLMTokenizer "
    "NllbTokenizer NougatTokenizer OpenAIGPTTokenizer PegasusTokenizer ReformerTokenizer RemBertTokenizer RoFormerTokenizer "
    "SeamlessM4TTokenizer Siglip2Tokenizer SplinterTokenizer UdopTokenizer WhisperTokenizer XGLMTokenizer XLNetTokenizer ";
/// Classes that transformers implements in Python, with files of their own.
constexpr std::string_view kPython =
    " BartphoTokenizer BertGenerationTokenizer BertJapaneseTokenizer BertweetTokenizer BioGptTokenizer BlenderbotSmallTokenizer "
    "ByT5Tokenizer CTRLTokenizer CanineTokenizer CpmAntTokenizer CpmTokenizer EsmTokenizer FSMTTokenizer FlaubertTokenizer "
    "GPTNeoXJapaneseTokenizer GPTSw3Tokenizer M2M100Tokenizer MarianTokenizer MyT5Tokenizer PLBartTokenizer PerceiverTokenizer "
    "PhobertTokenizer ProphetNetTokenizer RoCBertTokenizer SiglipTokenizer Speech2TextTokenizer SpeechT5Tokenizer TapasTokenizer "
    "VitsTokenizer Wav2Vec2CTCTokenizer XLMTokenizer ";

bool lists(std::string_view names, const std::string& name) {
  return !name.empty() && names.find(" " + name + " ") != std::string_view::npos;
}

std::string text_at(const Json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

template <size_t kSize>
std::string name_of(const TypeClass (&classes)[kSize], const std::string& type) {
  const auto found =
      std::find_if(std::begin(classes), std::end(classes), [&type](const TypeClass& entry) { return lists(entry.types, type); });
  return found != std::end(classes) ? std::string(found->name) : "";
}

/// The class with this name; kPlainClass if transformers does not know it.
std::string known_class(const std::string& name) {
  const std::string same = name_of(kSameClasses, name);
  return !same.empty() ? same : lists(kBuiltHere, name) || lists(kForeign, name) || lists(kPython, name) ? name : kPlainClass;
}

bool is_byte_level(const std::filesystem::path& file) {
  return is_file(file) &&
         read_file(file, ErrorKind::kModel, kTokenizerFile).find("\"ByteLevel\"") != std::string::npos;
}

}  // namespace

std::string find_tokenizer_class(const Json& tokenizer_config, const Json& config, const std::filesystem::path& tokenizer_json) {
  std::string declared = text_at(tokenizer_config, "tokenizer_class");
  declared = declared.empty() ? text_at(config, "tokenizer_class") : declared;
  if (declared.ends_with("Fast")) {
    declared.resize(declared.size() - 4);
  }
  const std::string type = text_at(config, "model_type");
  const std::string registered = name_of(kTypeClasses, type);
  if (declared.empty()) {
    return registered.empty() ? kPlainClass : known_class(registered);
  }
  if (declared == "LlamaTokenizer" && !lists(kMistralTypes, type) && !lists(kWronglyDeclared, type) && is_byte_level(tokenizer_json)) {
    return kPlainClass;
  }
  if (!registered.empty() && registered != declared && (registered == kPlainClass || lists(kWronglyDeclared, type))) {
    return known_class(registered);
  }
  return known_class(declared);
}

ForeignClass foreign_class(const std::string& name) {
  return lists(kForeign, name) ? ForeignClass::kOwnSections : lists(kPython, name) ? ForeignClass::kPython : ForeignClass::kNone;
}

}  // namespace lora::tokenizer

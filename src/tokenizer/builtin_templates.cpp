#include "tokenizer/builtin_templates.h"

#include <vector>

#include "lora/tokenizer/chat_template.h"

namespace lora::tokenizer {
namespace {

// The formats are those of the families; all mark what the assistant says, up to the token that ends its turn.

constexpr const char* kChatml = R"({{- bos_token }}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\n' }}
{%- if message.role == 'assistant' %}
{%- generation %}{{ message.content + '<|im_end|>' }}{% endgeneration %}
{%- else %}
{{- message.content + '<|im_end|>' }}
{%- endif %}
{{- '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %})";

constexpr const char* kLlama2 = R"(
{%- set ns = namespace(system='') %}
{%- for message in messages %}
{%- if message.role == 'system' and loop.first %}
{%- set ns.system = '<<SYS>>\n' + message.content + '\n<</SYS>>\n\n' %}
{%- elif message.role == 'user' %}
{{- bos_token }}{{- '[INST] ' + ns.system + message.content | trim + ' [/INST]' }}
{%- set ns.system = '' %}
{%- elif message.role == 'assistant' %}
{%- generation %}{{ ' ' + message.content | trim + ' ' + eos_token }}{% endgeneration %}
{%- else %}
{{- raise_exception('llama2 has the roles user and assistant, and system first: found ' + message.role) }}
{%- endif %}
{%- endfor %})";

constexpr const char* kLlama3 = R"({{- bos_token }}
{%- for message in messages %}
{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' }}
{%- if message.role == 'assistant' %}
{%- generation %}{{ message.content | trim + '<|eot_id|>' }}{% endgeneration %}
{%- else %}
{{- message.content | trim + '<|eot_id|>' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %})";

constexpr const char* kMistral = R"({{- bos_token }}
{%- set ns = namespace(system='') %}
{%- for message in messages %}
{%- if message.role == 'system' and loop.first %}
{%- set ns.system = message.content + '\n\n' %}
{%- elif message.role == 'user' %}
{{- '[INST] ' + ns.system + message.content + ' [/INST]' }}
{%- set ns.system = '' %}
{%- elif message.role == 'assistant' %}
{%- generation %}{{ ' ' + message.content + eos_token }}{% endgeneration %}
{%- else %}
{{- raise_exception('mistral has the roles user and assistant, and system first: found ' + message.role) }}
{%- endif %}
{%- endfor %})";

constexpr const char* kGemma = R"({{- bos_token }}
{%- set ns = namespace(system='') %}
{%- for message in messages %}
{%- if message.role == 'system' and loop.first %}
{%- set ns.system = message.content | trim + '\n\n' %}
{%- elif message.role == 'user' %}
{{- '<start_of_turn>user\n' + ns.system + message.content | trim + '<end_of_turn>\n' }}
{%- set ns.system = '' %}
{%- elif message.role == 'assistant' %}
{{- '<start_of_turn>model\n' }}
{%- generation %}{{ message.content | trim + '<end_of_turn>' }}{% endgeneration %}
{{- '\n' }}
{%- else %}
{{- raise_exception('gemma has the roles user and assistant, and system first: found ' + message.role) }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %})";

/// <|role|>, the content, and the token that ends every turn.
constexpr const char* kPhi3 = "{%- set end = '<|end|>' %}";
constexpr const char* kZephyr = "{%- set end = eos_token %}";
constexpr const char* kRoleLines = R"({{- bos_token }}
{%- for message in messages %}
{{- '<|' + message.role + '|>\n' }}
{%- if message.role == 'assistant' %}
{%- generation %}{{ message.content + end }}{% endgeneration %}
{%- else %}
{{- message.content + end }}
{%- endif %}
{{- '\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %})";

constexpr const char* kAlpaca = R"({{- bos_token }}
{%- set ns = namespace(system='Below is an instruction that describes a task. Write a response that appropriately completes the request.') %}
{%- for message in messages %}
{%- if message.role == 'system' and loop.first %}
{%- set ns.system = message.content %}
{%- elif message.role == 'user' %}
{{- ns.system + ('\n\n' if ns.system else '') + '### Instruction:\n' + message.content + '\n\n### Response:\n' }}
{%- set ns.system = '' %}
{%- elif message.role == 'assistant' %}
{%- generation %}{{ message.content + eos_token }}{% endgeneration %}
{{- '\n\n' if not loop.last }}
{%- else %}
{{- raise_exception('alpaca has the roles user and assistant, and system first: found ' + message.role) }}
{%- endif %}
{%- endfor %})";

constexpr const char* kVicuna = R"({{- bos_token }}
{%- if messages[0].role != 'system' %}
{{- 'A chat between a curious user and an artificial intelligence assistant. ' }}
{{- 'The assistant gives helpful, detailed, and polite answers to the user\'s questions. ' }}
{%- endif %}
{%- for message in messages %}
{%- if message.role == 'system' and loop.first %}
{{- message.content | trim + ' ' }}
{%- elif message.role == 'user' %}
{{- 'USER: ' + message.content | trim + ' ' }}
{{- 'ASSISTANT:' if not loop.last or add_generation_prompt }}
{%- elif message.role == 'assistant' %}
{%- generation %}{{ ' ' + message.content | trim + eos_token }}{% endgeneration %}
{%- else %}
{{- raise_exception('vicuna has the roles user and assistant, and system first: found ' + message.role) }}
{%- endif %}
{%- endfor %})";

struct TemplateEntry {
  const char* name;
  const char* begin;
  const char* body;
};

constexpr TemplateEntry kTemplates[] = {{"chatml", "", kChatml},         {"llama2", "", kLlama2}, {"llama3", "", kLlama3},
                                {"mistral", "", kMistral},       {"gemma", "", kGemma},   {"phi3", kPhi3, kRoleLines},
                                {"zephyr", kZephyr, kRoleLines}, {"alpaca", "", kAlpaca}, {"vicuna", "", kVicuna}};

}  // namespace

std::string builtin_template(const std::string& name) {
  for (const TemplateEntry& entry : kTemplates) {
    if (name == entry.name) {
      return std::string(entry.begin) + entry.body;
    }
  }
  return "";
}

std::vector<std::string> builtin_chat_templates() {
  std::vector<std::string> names;
  for (const TemplateEntry& entry : kTemplates) {
    names.emplace_back(entry.name);
  }
  return names;
}

}  // namespace lora::tokenizer

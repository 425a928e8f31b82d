#include "tools/flags.h"

#include <signal.h>

#include <array>
#include <charconv>
#include <cstdlib>
#include <sstream>
#include <utility>

#include "lora/app/guard.h"
#include "lora/base/heap.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/base/option_names.h"
#include "lora/base/terminal.h"
#include "lora/nn/tensor_heap.h"

namespace lora::tools {

void add_model_flags(CLI::App& cli, app::InferenceRequest& request) {
  begin_group(cli, group::kModel);
  cli.add_option("--model", request.model, "Base model: a folder, a GGUF file, or org/name in the local Hugging Face cache")
      ->type_name("PATH")
      ->required();
  cli.add_option("--tokenizer", request.tokenizer, "Tokenizer folder or file (default: the model's folder)")->type_name("PATH");
  cli.add_option("--dtype", request.dtype,
                 "Data type of the weights: auto (as in the checkpoint), float32, bfloat16 or float16 (default: auto)")
      ->type_name("DTYPE");
  cli.add_option("--device", request.device, "Device: auto (a GPU if there is one), cpu, cuda or cuda:N (default: auto)")
      ->type_name("DEVICE");
  cli.add_option("--quantize", request.quantize,
                 "Quantise the projections' weights while the model is loaded: nf4, nf4-dq, fp4, fp4-dq (-dq: double quantisation) or "
                 "int8 (default: as in the checkpoint)")
      ->type_name("TYPE");
  begin_group(cli, group::kAdapters);
  cli.add_option("--adapter", request.adapters, "Adapter folder, optionally with a name (repeatable)")
      ->type_name("[NAME=]DIR")
      ->take_all()
      ->allow_extra_args(false);
  add_other_base_flag(cli, request.allow_other_base);
  begin_group(cli, group::kTorchScript);
  add_trust_flag(cli, request.trust_torchscript);
  add_script_flags(cli, request.inputs, request.output);
  request.surroundings = surroundings();
}

void add_other_base_flag(CLI::App& cli, bool& allow_other_base) {
  cli.add_flag("--allow-other-base", allow_other_base, "Accept adapters that were trained on another base model");
}

void add_trust_flag(CLI::App& cli, bool& trust_torchscript) {
  cli.add_flag("--trust-torchscript", trust_torchscript, "Run the code of a TorchScript model, which is a program rather than data");
}

void add_script_flags(CLI::App& cli, std::vector<std::string>& inputs, std::string& output_field) {
  cli.add_option("--inputs", inputs, "Batch fields to pass as the model's arguments, in order (default: by the arguments' names)")
      ->type_name("FIELD,...")
      ->delimiter(',');
  cli.add_option("--output-field", output_field, "Key or index of the result that holds the model's logits")->type_name("KEY");
}

void add_chat_template_flag(CLI::App& cli, std::string& chat_template, const std::string& rows) {
  cli.add_option(
         "--chat-template", chat_template,
         "Chat template of " + rows + ": a built-in name, model, none, a file or a folder (default: the adapter's, else the model's)")
      ->type_name("NAME");
}

void add_documents_flag(CLI::App& cli, std::string& documents) {
  cli.add_option("--documents", documents, "Unit of a .txt file that is one document: line, paragraph or file (default: line)")
      ->type_name("UNIT");
}

void add_text_flags(CLI::App& cli, std::string& documents, bool& parse_special_tokens) {
  add_documents_flag(cli, documents);
  cli.add_flag("--no-parse-special-tokens{false}", parse_special_tokens, "Read the text of special tokens in rows as plain text");
}

CLI::Validator whole_number(int64_t smallest, int64_t largest) {
  const auto check = [smallest, largest](const std::string& text) {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool is_number = error == std::errc() && end == text.data() + text.size();
    return is_number && value >= smallest && value <= largest
               ? std::string()
               : "found '" + text + "', expected a whole number " +
                     (largest == INT64_MAX ? "of at least " + std::to_string(smallest)
                                           : "from " + std::to_string(smallest) + " to " + std::to_string(largest));
  };
  return CLI::Validator(check, "");
}

namespace {

/// Sets what the libraries that we use read from the environment only, when they first need it. A value that the user has set stays.
void set_library_defaults() {
  constexpr std::array<std::pair<const char*, const char*>, 3> kDefaults{{
      // LibTorch caches what it derives from oneDNN's compiled products (ops/compiled_products.h): 1024 of them by default, and batches of
      // varying lengths keep adding shapes. A run with 32 is as fast.
      {"LRU_CACHE_CAPACITY", "32"},
      // CUDA loads each kernel when it is first used instead of all of them at the start.
      {"CUDA_MODULE_LOADING", "LAZY"},
      // Otherwise the profiler writes its own lines between ours.
      {"KINETO_LOG_LEVEL", "99"},
  }};
  for (const auto& [name, value] : kDefaults) {
    setenv(name, value, /*overwrite=*/0);
  }
}

/// Prints the parser's help or error on the right stream, and returns the exit code.
int exit_of(const CLI::App& cli, const CLI::ParseError& error) {
  std::ostringstream out, err;
  const int code = cli.exit(error, out, err);
  terminal::print(out.str());
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    const bool has_config = cli.get_option_no_throw("--config") != nullptr;
    err << (has_config ? "Pass the config file with a flag: --config FILE\n" : "Pass every argument with its flag.\n");
  }
  terminal::write_error_stream(terminal::visible(err.str()));
  return code == 0 ? 0 : 2;
}

/// A config key, or another phrase in the messages of a run, and the flag that replaces it in programs that read no config.
struct FlagOfKey {
  const char* key;
  const char* flag;   ///< the program must have it
  const char* shown;  ///< replaces the key
};

constexpr FlagOfKey kFlagsOfKeys[] = {
    {"model.path", "--model", "--model"},
    {"model.tokenizer", "--tokenizer", "--tokenizer"},
    {"model.dtype", "--dtype", "--dtype"},
    {"model.device", "--device", "--device"},
    {"model.quantization", "--quantize", "--quantize"},
    {"model.trust_torchscript", "--trust-torchscript", "--trust-torchscript"},
    {"model.inputs", "--inputs", "--inputs"},
    {"model.output", "--output-field", "--output-field"},
    {"adapter.init_from", "--adapter", "--adapter"},
    {"adapter.target_modules", "--target-modules", "--target-modules"},
    {"data.chat_template", "--chat-template", "--chat-template"},
    {"data.train_on", "--train-on", "--train-on"},
    {"data.train", "--data", "--data"},
    {"data.max_length", "--model", "the length of the rows"},
    {"training.objective", "--objective", "--objective"},
    {"--data[0]", "--data", "--data"},
    {"--data[0].path", "--data", "--data"},
    {"--data[0].format", "--format", "--format"},
    {"--data[0].columns", "--column", "--column"},
    {"relative to the config file", "--model", "relative to the current folder"},
};

/// Names of this program's flags by config key; empty for a program that reads a config.
OptionNames option_names(const CLI::App& cli) {
  OptionNames names;
  const auto has = [&cli](const char* flag) { return cli.get_option_no_throw(flag) != nullptr; };
  for (const FlagOfKey& entry : kFlagsOfKeys) {
    if (!has("--config") && has(entry.flag)) {
      names.emplace_back(entry.key, entry.shown);
    }
  }
  return names;
}

}  // namespace

int run(CLI::App& cli, int argc, char** argv, const std::function<int()>& command) {
  terminal::open_standard_streams();
  install_interrupt_handlers();
  keep_freed_memory();
  nn::use_tensor_heap();
  set_library_defaults();
  bool quiet = false;
  begin_group(cli, group::kGeneral);
  cli.add_flag("--quiet", quiet, "Print only warnings and errors");
  cli.set_version_flag("--version", std::string(app::version_text()), "Print the version and exit");
  cli.set_help_flag("-h,--help", "Print this help and exit");
  use_help_format(cli);
  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return exit_of(cli, error);
  }
  use_option_names(option_names(cli));
  log::set_quiet(quiet);
  const int code = app::guarded(command);
  const bool lost_reader = interrupt_signal() == SIGPIPE;
  return code == 0 && lost_reader ? 128 + SIGPIPE : code;
}

config::Surroundings surroundings() {
  return config::read_surroundings([](const char* name) -> const char* { return std::getenv(name); });
}

}  // namespace lora::tools

#include "flags.h"

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
  cli.add_option("--model", request.model, "Folder of the base model, or org/name of one in the local Hugging Face cache")
      ->type_name("DIR")
      ->required();
  cli.add_option("--adapter", request.adapters, "Adapter folder, or NAME=DIR (repeatable)")
      ->type_name("[NAME=]DIR")
      ->take_all()
      ->allow_extra_args(false);
  cli.add_flag("--allow-other-base", request.allow_other_base, "Use an adapter on a base that it was not trained on");
  cli.add_option("--tokenizer", request.tokenizer, "Folder or file of the tokenizer (default: the model's folder)")->type_name("PATH");
  cli.add_option("--dtype", request.dtype, "auto (the checkpoint's), float32, bfloat16 or float16")->type_name("DTYPE");
  cli.add_option("--device", request.device, "auto (a GPU where there is one), cpu, cuda or cuda:N")->type_name("DEVICE");
  cli.add_flag("--trust-torchscript", request.trust_torchscript, "Run the code of a TorchScript --model: it is a program, not data");
  cli.add_option("--inputs", request.inputs, "Batch fields in the order of a TorchScript model's arguments (default: by their names)")
      ->type_name("FIELD,...")
      ->delimiter(',');
  cli.add_option("--output-field", request.output, "Key or index of a TorchScript model's logits in its result")->type_name("KEY");
  request.surroundings = surroundings();
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

/// Settings of the libraries below us that can be made by the environment alone, and are read when they are first needed. A value that the
/// user has set stays.
void set_library_defaults() {
  constexpr std::array<std::pair<const char*, const char*>, 4> kDefaults{{
      // oneDNN, and LibTorch on top of it, keep every matrix product that they were asked for, by its shape: 1024 of them by default, of a
      // megabyte or so each, while batches of ever new lengths ask for ever new shapes. With 32 a run is
      // as fast.
      {"ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32"},
      {"LRU_CACHE_CAPACITY", "32"},
      // CUDA's kernels are loaded when they are first used, not all at the start.
      {"CUDA_MODULE_LOADING", "LAZY"},
      // The profiler would write lines of its own between ours.
      {"KINETO_LOG_LEVEL", "99"},
  }};
  for (const auto& [name, value] : kDefaults) {
    setenv(name, value, /*overwrite=*/0);
  }
}

/// What the parser says, on the stream that it belongs to.
int exit_of(const CLI::App& cli, const CLI::ParseError& error) {
  std::ostringstream out, err;
  const int code = cli.exit(error, out, err);
  terminal::print(out.str());
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    const bool has_config = cli.get_option_no_throw("--config") != nullptr;
    err << (has_config ? "The config is given by a flag: --config FILE\n" : "Every argument is given by its flag.\n");
  }
  terminal::write_error_stream(terminal::visible(err.str()));
  return code == 0 ? 0 : 2;
}

/// Config keys, and what else messages of a run say, with the flag that stands for it in programs that read no config.
struct FlagOfKey {
  const char* key;
  const char* flag;   ///< the program must have it
  const char* shown;  ///< in place of the key
};

constexpr FlagOfKey kFlagsOfKeys[] = {
    {"model.path", "--model", "--model"},
    {"model.tokenizer", "--tokenizer", "--tokenizer"},
    {"model.dtype", "--dtype", "--dtype"},
    {"model.device", "--device", "--device"},
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

/// The names of this program's flags; none of a program that reads a config.
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
  cli.add_flag("--quiet", quiet, "Warnings and errors only");
  cli.set_version_flag("--version", std::string(app::version_text()));
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

#include <set>

#include "lora/app/generate_command.h"
#include "lora/app/generate_image_command.h"
#include "lora/base/error.h"
#include "lora/data/rows.h"
#include "tools/flags.h"

namespace tools = lora::tools;

namespace {

void add_prompt_flags(CLI::App& cli, lora::app::GenerateRequest& request) {
  tools::begin_group(cli, tools::group::kPrompt);
  auto* source = cli.add_option_group("source");
  source->add_option("--prompt", request.prompt, "Complete this text and stream the completion to standard output")->type_name("TEXT");
  source->add_option("--message", request.message, "Answer this user message with the chat template and stream the answer")
      ->type_name("TEXT");
  source
      ->add_option("--prompts", request.prompts,
                   "Complete rows of {\"prompt\"}, {\"messages\"}, {\"instruction\"}, {\"text\"} or {\"input_ids\"}, each with an "
                   "optional \"adapter\" and \"id\" (" + lora::data::file_endings(", ", /*with_text=*/false) +
                       ", or - for standard input)")
      ->type_name("FILE");
  source->add_flag("--chat", request.chat,
                   "Chat with one line per turn, using the chat template, or the layout of instruction rows if there is none; "
                   "/help lists the commands, Ctrl-C ends an answer");
  source->require_option(1);
  cli.add_option("--system", request.system, "System message for --message and --chat")->type_name("TEXT");
  tools::add_chat_template_flag(cli, request.chat_template, "messages and --chat");
  cli.add_flag("--no-parse-special-tokens{false}", request.parse_special_tokens,
               "Read the text of special tokens in prompts as plain text");
}

void add_sampling_flags(CLI::App& cli, lora::generate::GenerationOptions& options) {
  tools::begin_group(cli, tools::group::kSampling);
  cli.add_option("--temperature", options.temperature, "Sampling temperature; 0 is greedy decoding (default: 0)")->type_name("X");
  cli.add_option("--top-k", options.top_k, "Sample from the K most likely tokens; 0 is off (default: 0)")->type_name("K");
  cli.add_option("--top-p", options.top_p, "Sample from the most likely tokens with total probability P; 1 is off (default: 1)")
      ->type_name("P");
  cli.add_option("--min-p", options.min_p, "Sample from tokens at least P times as likely as the most likely; 0 is off (default: 0)")
      ->type_name("P");
  cli.add_option("--repetition-penalty", options.repetition_penalty,
                 "Penalty on tokens of the prompt and completion; above 1 makes repetition less likely (default: 1)")
      ->type_name("X");
  cli.add_option("--seed", options.seed, "Seed for sampling (default: 42)")->type_name("N");
}

/// The flags that only images have. Those of texts exclude --image, apart from the ones named here.
void add_image_flags(CLI::App& cli, lora::app::GenerateImageRequest& request, lora::app::InferenceRequest& inference, bool& is_image) {
  const std::vector<CLI::Option*> of_texts = cli.get_options();
  tools::begin_group(cli, tools::group::kImage);
  auto* image = cli.add_flag("--image", is_image, "Generate the image that --prompt describes with a text-to-image pipeline");
  const auto add = [&](const char* name, auto& value, const char* type, const char* help) {
    return cli.add_option(name, value, help)->type_name(type)->needs(image);
  };
  add("--weight", request.weights, "X",
      "Weight of an adapter, in the order of --adapter; all are used at once (repeatable; default: 1)")
      ->allow_extra_args(false);
  add("--negative-prompt", request.negative_prompt, "TEXT", "What the image is not to show");
  add("--steps", request.steps, "N", "Steps from noise to the image (default: 50)");
  add("--guidance", request.guidance, "X",
      "How strongly the image follows the prompt; 1 or less is off (default: 7.5, for Stable Diffusion XL 5, "
      "for 3 7, for FLUX.1-dev 3.5)");
  add("--sampler", request.sampler, "NAME",
      "How steps are computed: ddim, euler, euler_a or dpmpp_2m (default: ddim); for Stable Diffusion 3 and FLUX.1 flow_euler");
  add("--variant", inference.variant, "NAME", "Variant of the pipeline's weight files, such as fp16");
  add("--vae", inference.vae, "DIR", "Use this VAE instead of the pipeline's");
  add("--prediction-type", inference.prediction_type, "NAME",
      "What the network predicts, epsilon or v_prediction (default: as the scheduler's config says)");
  add("--clip-skip", inference.clip_skip, "N",
      "Layer of the CLIP encoders whose states are used: 1 is the usual one, 2 the one before it (default: 1)");
  add("--width", request.width, "N", "Width in pixels, a multiple of 8 (default: the model's)");
  add("--height", request.height, "N", "Height in pixels, a multiple of 8 (default: the model's)");
  for (CLI::Option* option : of_texts) {
    const std::string name = option->get_single_name();
    static const std::set<std::string> kShared{"model", "adapter", "dtype", "device", "allow-other-base", "prompt", "seed", "output",
                                               "tokenizer", "help", "quiet", "version"};
    if (kShared.count(name) == 0) {
      option->excludes(image);
    }
  }
}

int generate(lora::app::GenerateRequest& request, lora::app::GenerateImageRequest& image, bool is_image) {
  if (!is_image) {
    return lora::app::generate_command(request);
  }
  if (!request.prompt || request.output.empty()) {
    lora::config_error("--image", std::string("needs ") + (request.prompt ? "--output, the PNG file to write" : "--prompt"));
  }
  image.inference = request.inference;
  image.prompt = *request.prompt;
  image.seed = request.options.seed;
  image.output = request.output;
  return lora::app::generate_image_command(image);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App cli{"Completes prompts with a language model, or generates images with a text-to-image model, with or without adapters.",
               "lora-generate"};
  lora::app::GenerateRequest request;
  lora::app::GenerateImageRequest image;
  bool is_image = false;
  tools::add_model_flags(cli, request.inference);
  add_prompt_flags(cli, request);
  tools::begin_group(cli, tools::group::kGeneration);
  cli.add_option("--max-new-tokens", request.options.max_new_tokens, "Maximum number of tokens per completion (default: 256)")
      ->type_name("N");
  cli.add_option("--stop", request.options.stop, "End the completion before this text, which may be a special token (repeatable)")
      ->type_name("TEXT")
      ->take_all()
      ->allow_extra_args(false);
  cli.add_option("--batch-size", request.batch_size, "Prompts per batch (default: 8)")->type_name("N");
  add_sampling_flags(cli, request.options);
  tools::begin_group(cli, tools::group::kOutput);
  cli.add_option("--output", request.output,
                 "Write the rows of --prompts to this file when all are done (default: standard output); with --image, the PNG file")
      ->type_name("FILE");
  add_image_flags(cli, image, request.inference, is_image);
  tools::add_help_end(cli, "lora-generate --model base --adapter runs/first --prompt \"One morning\" --max-new-tokens 24",
                      "Exactly one of --prompt, --message, --prompts and --chat is required.\n"
                      "Without \"adapter\", a row of --prompts uses the first --adapter.\n"
                      "End-of-sequence tokens come from generation_config.json, else config.json, else the tokenizer.\n"
                      "The sampling settings in generation_config.json are not used.\n"
                      "After SIGINT or SIGTERM, the rows that are finished are written.\n");
  return lora::tools::run(cli, argc, argv, [&] { return generate(request, image, is_image); });
}

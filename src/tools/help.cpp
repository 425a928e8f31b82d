#include "tools/help.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <sstream>
#include <vector>

namespace lora::tools {

namespace {

constexpr size_t kTextColumn = 28;
constexpr size_t kLineWidth = 110;

constexpr std::array kGroups{group::kGettingStarted, group::kConfiguration, group::kModel,      group::kAdapters,   group::kPrompt,
                             group::kData,           group::kGeneration,    group::kImage,      group::kSampling,   group::kEvaluation,
                             group::kConversion,     group::kRank,          group::kExtraction, group::kCombination, group::kVerification,
                             group::kRun,            group::kOutput,        group::kTorchScript, group::kGeneral};

constexpr const char* kExitCodes =
    "Exit codes:\n"
    "  0        success\n"
    "  1        unexpected error\n"
    "  2        invalid flags or configuration\n"
    "  3        invalid data\n"
    "  4        invalid or unreadable model, adapter or tokenizer\n"
    "  5        training diverged, or an evaluation is not finite\n"
    "  6        the output exists, is in use or cannot be written\n"
    "  128 + N  stopped by signal N; lora-train writes a checkpoint first";

/// The options of a program, after those of its option groups, each of which has a --help of its own.
std::vector<const CLI::Option*> all_options(const CLI::App& cli) {
  std::vector<const CLI::Option*> options;
  for (const CLI::App* part : cli.get_subcommands(std::function<bool(const CLI::App*)>())) {
    const auto is_own = [part](const CLI::Option* option) { return option != part->get_help_ptr(); };
    const std::vector<const CLI::Option*> own = part->get_options(is_own);
    options.insert(options.end(), own.begin(), own.end());
  }
  const std::vector<const CLI::Option*> own = cli.get_options();
  options.insert(options.end(), own.begin(), own.end());
  return options;
}

/// "-h, --help", "--model DIR" or "PATH".
std::string signature(const CLI::Option& option) {
  std::string text;
  for (const std::string& name : option.get_snames()) {
    text += "-" + name + ", ";
  }
  for (const std::string& name : option.get_lnames()) {
    text += "--" + name;
  }
  const std::string type = option.get_type_size() == 0 ? "" : option.get_type_name();
  return text + (text.empty() || type.empty() ? "" : " ") + type;
}

/// Appends words to the line up to the last column, and continues on new lines at the column where the first word starts.
void wrap(std::string line, const std::string& text, std::ostream& out) {
  const size_t column = line.size();
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (line.size() > column && line.size() + 1 + word.size() > kLineWidth) {
      out << line << '\n';
      line.assign(column, ' ');
    }
    line += (line.size() > column ? " " : "") + word;
  }
  out << line << '\n';
}

void print_option(const CLI::Option& option, std::ostream& out) {
  std::string line = "  " + signature(option);
  if (line.size() >= kTextColumn) {
    out << line << '\n';
    line.clear();
  }
  line.resize(kTextColumn, ' ');
  wrap(line, option.get_description() + (option.get_required() ? " (required)" : ""), out);
}

void print_group(const std::string& group, const std::vector<const CLI::Option*>& options, std::ostream& out) {
  bool is_first = true;
  for (const CLI::Option* option : options) {
    if (option->get_group() == group) {
      out << (is_first ? "\n" + group + ":\n" : "");
      print_option(*option, out);
      is_first = false;
    }
  }
}

class HelpFormat final : public CLI::FormatterBase {
 public:
  std::string make_help(const CLI::App* cli, std::string name, CLI::AppFormatMode) const override {
    std::ostringstream out;
    const std::vector<const CLI::Option*> options = all_options(*cli);
    wrap("", cli->get_description(), out);
    out << "\nUsage: " << name;
    for (const CLI::Option* option : options) {
      out << (option->get_required() ? " " + signature(*option) : "");
    }
    out << " [OPTIONS]\n";
    std::vector<std::string> groups(kGroups.begin(), kGroups.end());
    for (const CLI::Option* option : options) {  // a group that is not listed comes last rather than not at all
      if (std::find(groups.begin(), groups.end(), option->get_group()) == groups.end()) {
        groups.push_back(option->get_group());
      }
    }
    for (const std::string& group : groups) {
      print_group(group, options, out);
    }
    out << cli->get_footer();
    return out.str();
  }
};

}  // namespace

void begin_group(CLI::App& cli, const char* name) {
  cli.option_defaults()->group(name);
}

void add_help_end(CLI::App& cli, const std::string& example, const std::string& notes) {
  cli.footer((notes.empty() ? "" : "\n" + notes) + "\nExample:\n  " + example + "\n\n" + kExitCodes + "\n");
}

void use_help_format(CLI::App& cli) {
  cli.formatter(std::make_shared<HelpFormat>());
}

}  // namespace lora::tools

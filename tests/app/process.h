#pragma once
#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "support/temporary_folder.h"

namespace lora::test {

/// How a child process ended, and its output.
struct Outcome {
  int exit_code = -1;  ///< 128 + signal if a signal killed it
  std::string out;
  std::string err;
};

/// A child process with its output in files. It is killed and reaped when this object is destroyed.
class Process {
 public:
  /// `input` is its standard input.
  explicit Process(const std::vector<std::string>& arguments, const std::string& input = "");
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void signal(int number) const;
  /// What it has written to standard error so far.
  std::string errors_so_far() const;
  Outcome wait();

 private:
  pid_t pid_ = -1;
  TemporaryFolder folder_;
};

using Arguments = std::vector<std::string>;

/// The arguments followed by more.
Arguments with(Arguments arguments, const Arguments& more);

/// Runs a tool of the build to its end: {"lora-eval", "--model", …}.
Outcome run_tool(std::vector<std::string> command, const std::string& input = "");

/// Runs lora-train with these arguments to its end.
Outcome lora_train(std::vector<std::string> arguments, const std::string& input = "");
std::vector<std::string> lora_train_command(std::vector<std::string> arguments);

void write_text(const std::filesystem::path& file, const std::string& text);
std::string read_text(const std::filesystem::path& file);
std::vector<Json> read_rows(const std::filesystem::path& jsonl);
/// The rows of metrics.jsonl in a folder, without the values that depend on the clock or the machine.
std::vector<std::string> stable_rows(const std::filesystem::path& folder);
/// SHA-256 of the adapter in a folder.
std::string result_hash(const std::filesystem::path& folder);

/// Copies a golden case (tests/data/llama or classification) into `scratch`. Returns its run.json.
std::filesystem::path copy_case(const std::string& name, const TemporaryFolder& scratch);

}  // namespace lora::test

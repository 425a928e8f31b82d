#include "process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "lora/base/file.h"
#include "support/paths.h"

namespace lora::test {

namespace fs = std::filesystem;

namespace {

void redirect(const fs::path& file, int flags, int descriptor) {
  const int opened = open(file.c_str(), flags, 0600);
  dup2(opened, descriptor);
  close(opened);
}

}  // namespace

Process::Process(const std::vector<std::string>& arguments, const std::string& input) {
  write_text(folder_ / "in", input);
  pid_ = fork();
  if (pid_ != 0) {
    return;
  }
  redirect(folder_ / "in", O_RDONLY, STDIN_FILENO);
  redirect(folder_ / "out", O_WRONLY | O_CREAT, STDOUT_FILENO);
  redirect(folder_ / "err", O_WRONLY | O_CREAT, STDERR_FILENO);
  std::vector<char*> argv;
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  _exit(127);
}

Process::~Process() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
}

void Process::signal(int number) const {
  kill(pid_, number);
}

std::string Process::errors_so_far() const {
  return read_text(folder_ / "err");
}

Outcome Process::wait() {
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_text(folder_ / "out"), read_text(folder_ / "err")};
}

Arguments with(Arguments arguments, const Arguments& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

Outcome run_tool(std::vector<std::string> command, const std::string& input) {
  command.front().insert(0, std::string(lora::test::program_folder()) + "/");
  return Process(command, input).wait();
}

std::vector<std::string> lora_train_command(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), std::string(lora::test::program_folder()) + "/lora-train");
  return arguments;
}

Outcome lora_train(std::vector<std::string> arguments, const std::string& input) {
  return Process(lora_train_command(std::move(arguments)), input).wait();
}

void write_text(const fs::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}

std::string read_text(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

std::vector<Json> read_rows(const fs::path& jsonl) {
  std::vector<Json> rows;
  std::ifstream file(jsonl);
  for (std::string line; std::getline(file, line) && !file.eof();) {  // a running process may be writing its last line
    rows.push_back(Json::parse(line));
  }
  return rows;
}

std::vector<std::string> stable_rows(const std::filesystem::path& folder) {
  std::vector<std::string> rows;
  for (Json row : read_rows(folder / "metrics.jsonl")) {
    row.erase("tokens_per_second");
    row.erase("peak_memory_bytes");
    rows.push_back(row.dump());
  }
  return rows;
}

std::string result_hash(const fs::path& folder) {
  return sha256_of_file(folder / "adapter_model.safetensors", ErrorKind::kOutput);
}

fs::path copy_case(const std::string& name, const TemporaryFolder& scratch) {
  for (const char* kind : {"llama", "classification"}) {
    if (fs::exists(fs::path(lora::test::data_folder()) / kind / name)) {
      fs::copy(fs::path(lora::test::data_folder()) / kind / name, scratch / name, fs::copy_options::recursive);
    }
  }
  return scratch / name / "run.json";
}

}  // namespace lora::test

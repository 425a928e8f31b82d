#include "torchscript/trial.h"

#include <atomic>
#include <csignal>
#include <new>
#include <stdexcept>

#include "lora/base/error.h"
#include "support/expect_error.h"

namespace lora::torchscript {
namespace {

void refuse(const std::vector<std::string>& parts, const TrialLimits& limits, const std::function<void()>& work) {
  test::expect_error(ErrorKind::kModel, parts, [&] { try_in_child("m.pt", limits, work); });
}

TEST(Trial, AChildsWorkHasNoEffectHere) {
  int value = 1;
  try_in_child("m.pt", {}, [&value] { value = 2; });
  EXPECT_EQ(value, 1);
  test::expect_error(ErrorKind::kConfig, {"[model.output] is wrong"},
                     [] { try_in_child("m.pt", {}, [] { config_error("model.output", "is wrong"); }); });
}

TEST(Trial, AChildThatComputesTooLongMayBeTooLarge) {
  const auto compute = [] {
    std::atomic<uint64_t> count = 0;
    while (++count > 0) {
    }
  };
  refuse({"[m.pt] took too long in a child process, which was ended: found more than", "too large for this machine"},
         {int64_t{1} << 30, 1}, compute);
}

TEST(Trial, ACrashOrErrorOfTheChildIsReported) {
  refuse({"[m.pt]", "Segmentation fault", "damaged"}, {}, [] { raise(SIGSEGV); });
  refuse({"[m.pt] cannot be run: needs more memory"}, {}, [] { throw std::bad_alloc(); });
  refuse({"[m.pt] cannot be run: the first line"}, {}, [] { throw std::runtime_error("the first line\nthe second"); });
}

}  // namespace
}  // namespace lora::torchscript

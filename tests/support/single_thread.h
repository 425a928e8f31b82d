#pragma once
#include <ATen/Parallel.h>

namespace lora::test {

/// One thread for every test of a program that includes this: OpenMP's threads wait by spinning, so that tests side by
/// side on a busy machine take twenty times as long with two.
inline const bool kSingleThread = [] {
  at::set_num_threads(1);
  return true;
}();

/// So many threads as long as the object lives: for what must not depend on their number.
class Threads {
 public:
  explicit Threads(int count) : before_(at::get_num_threads()) { at::set_num_threads(count); }
  ~Threads() { at::set_num_threads(before_); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

}  // namespace lora::test

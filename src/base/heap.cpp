#include "lora/base/heap.h"

#include <cstdlib>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <climits>
#include <fstream>

#include <unistd.h>

namespace lora {

void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_MAX, 0);  // large blocks too come from the heap, where they are kept
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_MXFAST, 0);  // every large free would tidy up the small blocks of the fast bins
#endif
}

int64_t resident_bytes() {
  int64_t total = 0, resident = 0;
  std::ifstream file("/proc/self/statm");
  return file >> total >> resident ? resident * sysconf(_SC_PAGESIZE) : 0;
}

void HeapGoal::check() {
  if (bytes_ == 0) {
    return;
  }
  const int64_t resident = resident_bytes();
  if (resident <= bytes_) {
    just_released_ = false;
  } else if (just_released_) {
    bytes_ = resident;
    just_released_ = false;
  } else {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
    just_released_ = true;
  }
}

}  // namespace lora

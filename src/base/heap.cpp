#include "lora/base/heap.h"

#include <cstdlib>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <climits>

namespace lora {

void keep_freed_memory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_MAX, 0);  // large blocks also come from the heap, where they are kept
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  mallopt(M_MXFAST, 0);  // every large free would tidy up the small blocks of the fast bins
#endif
}

}  // namespace lora

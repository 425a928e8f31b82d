#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/descriptor.h"
#include "lora/base/file.h"
#include "lora/base/input_file.h"

namespace lora {

MappedFile::MappedFile(const fs::path& file, ErrorKind kind) : path_(file) {
  const Descriptor descriptor(open_input(file, kind));
  struct stat status = {};
  if (fstat(descriptor.number(), &status) != 0) {
    system_error(kind, file, "cannot be read");
  }
  size_ = static_cast<size_t>(status.st_size);
  if (size_ == 0) {
    return;
  }
  // No swap space is reserved: a model larger than memory can be mapped as long as few of its pages are written.
  void* address = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, descriptor.number(), 0);
  if (address == MAP_FAILED) {
    system_error(kind, file, "cannot be mapped into memory");
  }
  data_ = static_cast<std::byte*>(address);
}

void MappedFile::release(size_t offset, size_t size) const {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t begin = offset / page * page;
  if (begin < size_) {
    // This is only advice: if the system does not follow it, the pages stay in memory, which does no harm.
    madvise(data_ + begin, std::min(size_, offset + size) - begin, MADV_DONTNEED);
  }
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) {
    munmap(data_, size_);
  }
}

}  // namespace lora

#include <openssl/evp.h>

#include <array>
#include <memory>
#include <vector>

#include "base/descriptor.h"
#include "lora/base/file.h"

namespace lora {

namespace {

constexpr size_t kChunk = 1 << 20;

class Digest {
 public:
  Digest() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) { check(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr)); }

  void add(const char* bytes, size_t size) { check(EVP_DigestUpdate(context_.get(), bytes, size)); }

  std::string hexadecimal() {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::array<unsigned char, EVP_MAX_MD_SIZE> bytes;
    unsigned size = 0;
    check(EVP_DigestFinal_ex(context_.get(), bytes.data(), &size));
    std::string text;
    for (unsigned i = 0; i < size; ++i) {
      text += kDigits[bytes[i] >> 4];
      text += kDigits[bytes[i] & 15];
    }
    return text;
  }

 private:
  static void check(int result) {
    if (result != 1) {
      throw Error(ErrorKind::kUnforeseen, "SHA-256", "libcrypto refuses to compute it. Likely cause: its configuration forbids it");
    }
  }

  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

}  // namespace

std::string sha256(std::string_view bytes) {
  Digest digest;
  digest.add(bytes.data(), bytes.size());
  return digest.hexadecimal();
}

std::string sha256_of_file(const fs::path& file, ErrorKind kind) {
  const Descriptor descriptor(file, O_RDONLY);
  if (!descriptor.ok()) {
    system_error(kind, file, "cannot be read");
  }
  Digest digest;
  std::vector<char> chunk(kChunk);
  while (true) {
    const ssize_t size = read(descriptor.number(), chunk.data(), chunk.size());
    if (size < 0 && errno == EINTR) {
      continue;
    }
    if (size < 0) {
      system_error(kind, file, "cannot be read");
    }
    if (size == 0) {
      return digest.hexadecimal();
    }
    digest.add(chunk.data(), static_cast<size_t>(size));
  }
}

}  // namespace lora

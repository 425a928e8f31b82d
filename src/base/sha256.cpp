#include <openssl/evp.h>

#include <array>
#include <memory>
#include <vector>

#include "base/descriptor.h"
#include "lora/base/bundle.h"
#include "lora/base/file.h"
#include "lora/base/input_file.h"

namespace lora {

namespace {

constexpr size_t kChunk = 1 << 20;

void check(int result) {
  if (result != 1) {
    throw Error(ErrorKind::kUnforeseen, "SHA-256", "libcrypto refuses to compute it. Likely cause: its configuration forbids it.");
  }
}

}  // namespace

struct Sha256::Context {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> digest{EVP_MD_CTX_new(), &EVP_MD_CTX_free};
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  check(EVP_DigestInit_ex(context_->digest.get(), EVP_sha256(), nullptr));
}

Sha256::~Sha256() = default;

void Sha256::add(const void* bytes, size_t size) {
  check(EVP_DigestUpdate(context_->digest.get(), bytes, size));
}

std::string Sha256::hexadecimal() {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes;
  unsigned size = 0;
  check(EVP_DigestFinal_ex(context_->digest.get(), bytes.data(), &size));
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

std::string sha256(std::string_view bytes) {
  Sha256 digest;
  digest.add(bytes.data(), bytes.size());
  return digest.hexadecimal();
}

std::string sha256_of_file(const fs::path& file, ErrorKind kind) {
  if (const std::optional<std::string> bundled = bundled_file(file)) {
    return sha256(*bundled);
  }
  const Descriptor descriptor(open_input(file, kind));
  Sha256 digest;
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

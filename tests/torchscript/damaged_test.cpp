// A thousand damaged files: each is refused with a clear error, and the process survives.
#include <zlib.h>

#include <cstring>
#include <fstream>

#include "lora/base/random.h"
#include "lora/io/zip.h"
#include "lora/torchscript/archive.h"
#include "lora/torchscript/load.h"
#include "script_run.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora::torchscript {
namespace {

/// One kind of damage to the bytes of a file.
using Damage = std::string (*)(std::string bytes, CounterRandom& random);

std::string cut_off(std::string bytes, CounterRandom& random) {
  return bytes.substr(0, random.below(bytes.size()));
}

std::string flip_bits(std::string bytes, CounterRandom& random) {
  for (uint64_t i = 0; i <= random.below(8); ++i) {
    bytes[random.below(bytes.size())] ^= static_cast<char>(1 << random.below(8));
  }
  return bytes;
}

std::string blank_out(std::string bytes, CounterRandom& random) {
  const size_t begin = random.below(bytes.size());
  const size_t size = std::min<size_t>(bytes.size() - begin, 1 + random.below(4096));
  std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(begin), size, '\0');
  return bytes;
}

std::string repeat_a_piece(std::string bytes, CounterRandom& random) {
  const size_t begin = random.below(bytes.size());
  return bytes.insert(random.below(bytes.size()), bytes.substr(begin, 1 + random.below(2048)));
}

void load(const std::filesystem::path& file) {
  models::ModelOptions options = test::script_options("");
  options.path = file;
  load_model(options);
}

/// Loads the file. Returns whether it was refused, which must be an Error of one line.
bool is_refused(const std::filesystem::path& file) {
  try {
    load(file);
    return false;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kModel) << error.what();
    EXPECT_THAT(error.what(), testing::AllOf(testing::StartsWith("["), testing::Not(testing::HasSubstr("\n"))));
    return true;
  }
}

TEST(DamagedFiles, AreRefusedByTheirChecksums) {
  const test::TemporaryFolder folder;
  const std::string whole = read_file(test::kScripts / "modules/lm_scripted.pt", ErrorKind::kModel);
  constexpr Damage kDamages[] = {cut_off, flip_bits, blank_out, repeat_a_piece};
  CounterRandom random(1);
  const std::string fingerprint = read_archive(folder.write("whole.pt", whole)).fingerprint;
  for (int i = 0; i < 900; ++i) {
    const std::string damaged = kDamages[i % 4](whole, random);
    const std::filesystem::path file = folder.write("damaged.pt", damaged);
    if (damaged != whole && !is_refused(file)) {  // damage between the entries is not read
      EXPECT_EQ(read_archive(file).fingerprint, fingerprint) << "damage " << i;
    }
  }
}

/// Changes an entry's content and its checksum, so that only loading can notice.
std::string with_forged_entry(std::string bytes, const io::ZipMember& member, CounterRandom& random) {
  char* content = bytes.data() + member.offset;
  for (int i = 0; i < 3; ++i) {
    content[random.below(static_cast<uint64_t>(member.size))] = static_cast<char>(random.below(256));
  }
  const uLong crc = crc32_z(crc32(0, nullptr, 0), reinterpret_cast<const Bytef*>(content), static_cast<size_t>(member.size));
  const auto forged = static_cast<uint32_t>(crc);
  for (size_t at = 0; (at = bytes.find("PK\x01\x02", at, 4)) != std::string::npos; at += 4) {
    if (std::memcmp(bytes.data() + at + 16, &member.crc, 4) == 0) {
      std::memcpy(bytes.data() + at + 16, &forged, 4);
    }
  }
  return bytes;
}

TEST(DamagedFiles, WithValidChecksumsAreRefusedOrLoadedInAChild) {
  const test::TemporaryFolder folder;
  // torch reads stored and deflated entries: this module's code is stored.
  const std::filesystem::path file = test::kScripts / "modules/stored.pt";
  const std::string whole = read_file(file, ErrorKind::kModel);
  const MappedFile mapped(file, ErrorKind::kModel);
  std::vector<io::ZipMember> members;
  for (const io::ZipMember& member : io::zip_members(mapped, "TorchScript file")) {
    const bool is_program = member.name.ends_with(".pkl") || member.name.ends_with(".py");
    if (!member.is_deflated && member.size > 8 && is_program) {
      members.push_back(member);
    }
  }
  ASSERT_FALSE(members.empty());
  CounterRandom random(2);
  int refused = 0;
  for (int i = 0; i < 50; ++i) {
    const io::ZipMember& member = members[static_cast<size_t>(i) % members.size()];
    refused += is_refused(folder.write("forged.pt", with_forged_entry(whole, member, random))) ? 1 : 0;
  }
  EXPECT_GT(refused, 15);
}

}  // namespace
}  // namespace lora::torchscript

#include "lora/torchscript/archive.h"

#include "lora/base/file.h"
#include "support/expect_error.h"
#include "support/paths.h"
#include "support/temporary_folder.h"

namespace lora::torchscript {
namespace {

const std::filesystem::path kModules = std::filesystem::path(lora::test::data_folder()) / "torchscript/modules";

std::string module_bytes() {
  return read_file(kModules / "lm_scripted.pt", ErrorKind::kModel);
}

TEST(Archive, ListsAndFingerprintsItsContent) {
  const Archive archive = read_archive(kModules / "lm_scripted.pt");
  const auto has = [&archive](const std::string& name) {
    return std::any_of(archive.entries.begin(), archive.entries.end(), [&name](const ArchiveEntry& entry) { return entry.name == name; });
  };
  EXPECT_TRUE(has("data.pkl") && has("constants.pkl") && has("data/0"));
  EXPECT_EQ(archive.fingerprint.size(), 64);
  EXPECT_NE(archive.fingerprint, read_archive(kModules / "lm_traced.pt").fingerprint);
}

TEST(Archive, TheFingerprintDoesNotDependOnTheFileName) {
  const test::TemporaryFolder folder;
  EXPECT_EQ(read_archive(folder.write("renamed.pt", module_bytes())).fingerprint, read_archive(kModules / "lm_scripted.pt").fingerprint);
}

TEST(Archive, SaysWhatAnotherFileIs) {
  const test::TemporaryFolder folder;
  const auto refuse = [](const std::filesystem::path& file, const std::vector<std::string>& parts) {
    test::expect_error(ErrorKind::kModel, parts, [&] { read_archive(file); });
  };
  refuse(folder.write("pickle.pt", "\x80\x02 an old pickle"), {"no zip archive", "torch.jit.save"});
  refuse(folder.write("empty.pt", ""), {"no zip archive"});
  refuse(folder / "missing.pt", {"missing.pt"});
  std::string weights = module_bytes();  // as torch.save writes it, without code
  for (size_t at = weights.find("code/"); at != std::string::npos; at = weights.find("code/", at)) {
    weights.replace(at, 5, "kode/");
  }
  refuse(folder.write("weights.pt", weights), {"found a file of torch.save, which holds values without code"});
}

TEST(Archive, DamageIsFoundBeforeLoading) {
  const test::TemporaryFolder folder;
  const std::string whole = module_bytes();
  const auto refuse = [](const std::filesystem::path& file, const std::string& part) {
    test::expect_error(ErrorKind::kModel, {"damaged", part}, [&] { read_archive(file); });
  };
  refuse(folder.write("half.pt", whole.substr(0, whole.size() / 2)), "found the beginning of a zip archive without its end");
  std::string tensor = whole;
  tensor[tensor.find("/data/0") + 40] ^= 1;
  refuse(folder.write("tensor.pt", tensor), "does not match its checksum");
  std::string directory = whole;
  directory[directory.rfind("PK\x01\x02")] = 'Q';
  refuse(folder.write("directory.pt", directory), "wrong signature");
}

}  // namespace
}  // namespace lora::torchscript

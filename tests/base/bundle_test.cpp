// A file that is read as the folder of a model.
#include "lora/base/bundle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lora/base/file.h"
#include "lora/base/input_file.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// The files of a bundle, and how often it was opened.
struct Counted {
  BundledFiles open() {
    ++opened;
    return {{"config.json", [] { return std::string("{\"a\": 1}"); }}, {"b.txt", [] { return std::string("text"); }}};
  }
  int opened = 0;
};

TEST(Bundle, IsReadAsAFolder) {
  const test::TemporaryFolder folder;
  const std::filesystem::path bundle = folder.write("model.gguf", "bytes");
  EXPECT_FALSE(is_bundle(bundle));
  EXPECT_FALSE(is_folder(bundle));
  Counted counted;
  add_bundle(bundle, [&counted] { return counted.open(); });
  EXPECT_TRUE(is_bundle(bundle));
  EXPECT_TRUE(is_folder(folder / "x/../model.gguf")) << "by any of its names";
  EXPECT_EQ(counted.opened, 0);
  EXPECT_THAT(bundled_names(bundle), ElementsAre("b.txt", "config.json"));
  EXPECT_TRUE(is_file(bundle / "b.txt"));
  EXPECT_FALSE(is_file(bundle / "c.txt"));
  EXPECT_TRUE(is_file(bundle)) << "it still is the file that it was";
  EXPECT_EQ(read_file(bundle / "b.txt", ErrorKind::kModel), "text");
  EXPECT_EQ(read_json(bundle / "config.json", ErrorKind::kModel)["a"], 1);
  EXPECT_EQ(sha256_of_file(bundle / "b.txt", ErrorKind::kModel), sha256("text"));
  EXPECT_EQ(read_file(bundle, ErrorKind::kModel), "bytes");
  EXPECT_EQ(counted.opened, 1);
  add_bundle(bundle, [&counted] { return counted.open(); });
  EXPECT_EQ(bundled_file(bundle / "b.txt"), "text");
  EXPECT_EQ(counted.opened, 1) << "adding it again changes nothing";
  test::expect_error(ErrorKind::kModel, {"model.gguf/c.txt"}, [&] { read_file(bundle / "c.txt", ErrorKind::kModel); });
}

TEST(Bundle, FilesAndFoldersAreWhatTheyAre) {
  const test::TemporaryFolder folder;
  folder.write("a/b.txt", "text");
  EXPECT_TRUE(is_folder(folder / "a"));
  EXPECT_FALSE(is_bundle(folder / "a"));
  EXPECT_TRUE(is_file(folder / "a/b.txt"));
  EXPECT_FALSE(is_file(folder / "a"));
  EXPECT_THAT(bundled_names(folder / "a"), IsEmpty());
  EXPECT_EQ(bundled_file(folder / "a/b.txt"), std::nullopt);
}

TEST(Bundle, AFailureToOpenItIsSaidEachTime) {
  const test::TemporaryFolder folder;
  const std::filesystem::path bundle = folder.write("damaged.gguf", "bytes");
  add_bundle(bundle, []() -> BundledFiles { model_error("damaged.gguf", "is damaged"); });
  for (int i = 0; i < 2; ++i) {
    test::expect_error(ErrorKind::kModel, {"is damaged"}, [&] { read_file(bundle / "config.json", ErrorKind::kModel); });
  }
}

}  // namespace
}  // namespace lora

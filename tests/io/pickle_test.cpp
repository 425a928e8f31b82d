// Pickles are read as data only: no size, count or opcode in one may cost more than its length.
#include <gtest/gtest.h>

#include "io/pickle.h"
#include "lora/base/random.h"
#include "lora/io/torch_archive.h"
#include "support/expect_error.h"
#include "support/paths.h"
#include "support/temporary_folder.h"

namespace lora::test {
namespace {

using io::Pickle;
using Kind = io::PickleValue::Kind;

const std::vector<std::string_view> kAllowed{"torch._utils _rebuild_tensor_v2", "collections OrderedDict"};
const std::filesystem::path kPickles = std::filesystem::path(lora::test::data_folder()) / "adapters" / "pickles";

std::string opcodes(std::initializer_list<int> codes) {
  return {codes.begin(), codes.end()};
}

void expect_fault(const std::string& bytes, const std::string& part) {
  expect_error(ErrorKind::kModel, {part}, [&bytes] { Pickle(bytes, kAllowed, "a.bin"); });
}

TEST(Pickle, ReadsContainersAndNumbers) {
  // {"a": (1, -2, None), "b": [True]}
  const std::string bytes = opcodes({0x80, 2, '}', '('}) + std::string("X\1\0\0\0a", 6) + "K\1J\xfe\xff\xff\xff" + "N\x87" +
                            std::string("X\1\0\0\0b", 6) + opcodes({']', 0x88, 'a', 'u', '.'});
  const Pickle pickle(bytes, kAllowed, "a.bin");
  ASSERT_EQ(pickle.value().kind, Kind::kDict);
  ASSERT_EQ(pickle.value().items.size(), 4);
  EXPECT_EQ(pickle.value().items[0]->text, "a");
  EXPECT_EQ(pickle.value().items[1]->items[1]->integer, -2);
  EXPECT_EQ(pickle.value().items[3]->items[0]->kind, Kind::kBool);
}

TEST(Pickle, RefusesWhatIsNoTensor) {
  expect_fault("cos\nsystem\n.", "would call 'os.system'");
  expect_fault("\x80\4\x8c\2os\x8c\6system\x93.", "would call 'os.system'");
  expect_fault("\x80\2i.", "opcode 105");  // INST, of protocol 0
  expect_fault(opcodes({0x8a, 9, 1, 1, 1, 1, 1, 1, 1, 1, 1, '.'}), "more than 64 bits");
}

TEST(Pickle, RefusesDamage) {
  for (const std::string& bytes :
       {std::string(), std::string("\x80"),
        std::string("X\xff\xff\xff\xff"
                    "a",
                    6),
        opcodes({'.'}), opcodes({'t', '.'}), opcodes({'N', 'R', '.'}), opcodes({'h', 3, '.'}), opcodes({'N', 's', '.'}),
        opcodes({'}', 'N', 'a', '.'}), opcodes({'}', '(', 'N', 'u', '.'}), opcodes({'(', '0', '.'}), std::string("ccollections")}) {
    expect_fault(bytes, "is damaged");
  }
}

/// A structure that doubles with every few bytes is shared, not copied; a deeply nested one is walked without recursion.
TEST(Pickle, BombsStaySmall) {
  std::string doubling = "\x80\2)q";
  doubling += '\0';
  for (int i = 0; i < 100'000; ++i) {
    doubling += std::string("h\0h\0\x86q\0", 7);
  }
  EXPECT_EQ(Pickle(doubling + ".", kAllowed, "a.bin").value().items.size(), 2);
  EXPECT_EQ(Pickle(std::string(500'000, ')') + std::string(499'999, '\x86') + ".", kAllowed, "a.bin").value().items.size(), 2);
  expect_fault(std::string(3'000'000, 'N') + ".", "more than 2097152 values");
  // A container that contains itself.
  EXPECT_EQ(Pickle(std::string("]q\0h\0a.", 7), kAllowed, "a.bin").value().items.size(), 1);
}

TEST(Pickle, RandomBytesEndInAnErrorOrAValue) {
  CounterRandom random(7);
  const std::string codes = "(.0NRbcaesu})]tJKMGXBCqrhjQ\x80\x85\x86\x87\x88\x89\x8a\x8c\x93\x94\x95";
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes;
    for (uint64_t length = random.below(60); bytes.size() < length;) {
      bytes += random.below(3) > 0 ? codes[random.below(codes.size())] : static_cast<char>(random.below(8));
    }
    try {
      Pickle(bytes + ".", kAllowed, "a.bin");
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kModel);
    }
  }
}

TEST(TorchArchive, RefusesWhatIsNoDictOfTensors) {
  const auto expect = [](const std::string& file, const std::vector<std::string>& parts) {
    expect_error(ErrorKind::kModel, parts, [&file] { io::load_torch_archive(kPickles / file); });
  };
  expect("before_1_6.bin", {"before version 1.6", "python -c \"import torch", "before_1_6.safetensors"});
  expect("code.bin", {"nothing was run", "print"});
  expect("list.bin", {"not a dict of tensors"});
  expect("nested.bin", {"'state_dict'", "not a plain tensor"});
  expect("sparse.bin", {"not part of a tensor"});
  expect("expanded.bin", {"extends past its 1 stored numbers"});
}

TEST(TorchArchive, DamagedFilesAreAnError) {
  const std::string good =
      read_file(std::filesystem::path(lora::test::data_folder()) / "adapters/peft_0_1/adapter_model.bin", ErrorKind::kData);
  const TemporaryFolder folder;
  const auto fails = [&](const std::string& bytes) {
    const std::filesystem::path file = folder.write("a.bin", bytes);
    try {
      return io::load_torch_archive(file).empty();
    } catch (const Error& error) {
      return error.kind() == ErrorKind::kModel;
    }
  };
  EXPECT_FALSE(fails(good));
  for (size_t length = 0; length < good.size(); length += 97) {
    EXPECT_TRUE(fails(good.substr(0, length))) << length;
  }
  CounterRandom random(3);
  for (int i = 0; i < 300; ++i) {
    std::string bytes = good;
    bytes[random.below(bytes.size())] ^= static_cast<char>(1 << random.below(8));
    fails(bytes);  // a flipped bit in an unused header field may pass; none may crash
  }
}

}  // namespace
}  // namespace lora::test

// Damaged folders of packed weights: each is refused by an error that names tensor or key, or read; none needs much memory.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <array>
#include <map>

#include "lora/base/file.h"
#include "lora/base/random.h"
#include "lora/io/tensors.h"
#include "lora/quantization/packed_checkpoint.h"
#include "support/damage.h"
#include "support/packed_folders.h"
#include "support/temporary_folder.h"

namespace lora::quantization {
namespace {

constexpr int64_t kMostMemory = 200 << 10;  ///< KiB

struct Folder {
  Json config;
  std::map<std::string, at::Tensor> tensors;
};

Folder read_folder(const std::string& name) {
  const fs::path path = lora::test::quantized_folder(name);
  Folder folder{read_json(path / "config.json", ErrorKind::kModel), {}};
  const io::SafetensorsFile file(path / "model.safetensors");
  for (const std::string& tensor : file.names()) {
    if (tensor.find(".k_proj.") != std::string::npos || tensor.find(".down_proj.") != std::string::npos) {
      folder.tensors[tensor] = file.tensor(tensor).clone();
    }
  }
  return folder;
}

/// A number that a part may hold or a key may have: small, negative or huge.
int64_t odd_number(CounterRandom& random) {
  constexpr std::array<int64_t, 9> kNumbers{0, -1, 1, 3, 7, 255, 1 << 20, int64_t{1} << 40, INT64_MAX};
  return kNumbers[random.below(kNumbers.size())];
}

at::Tensor other_shape(const at::Tensor& tensor, CounterRandom& random) {
  switch (random.below(5)) {
    case 0:
      return tensor.dim() > 0 ? tensor.slice(0, 0, static_cast<int64_t>(random.below(static_cast<uint64_t>(tensor.size(0)) + 1)))
                              : tensor.view({1});
    case 1:
      return tensor.unsqueeze(0);
    case 2:
      return tensor.flatten();
    case 3:
      return tensor.dim() == 2 ? tensor.t() : at::cat({tensor.flatten(), tensor.flatten()});
    default:
      return tensor.slice(tensor.dim() > 0 ? tensor.dim() - 1 : 0, 0, 1);
  }
}

at::Tensor other_numbers(const at::Tensor& tensor, CounterRandom& random) {
  at::Tensor bytes = tensor.contiguous().view({-1}).view(at::kByte).clone();
  for (uint64_t i = 0; i <= random.below(8) && bytes.numel() > 0; ++i) {
    bytes[static_cast<int64_t>(random.below(static_cast<uint64_t>(bytes.numel())))] = static_cast<int64_t>(random.below(256));
  }
  return bytes.view(tensor.scalar_type()).view(tensor.sizes());
}

at::Tensor other_dtype(const at::Tensor& tensor, CounterRandom& random) {
  constexpr std::array<at::ScalarType, 6> kOthers{at::kFloat, at::kHalf, at::kInt, at::kLong, at::kByte, at::kChar};
  return tensor.to(at::kFloat).to(kOthers[random.below(kOthers.size())]);
}

/// Damages a part of a packed weight. Undefined: it is gone.
at::Tensor damaged(const at::Tensor& tensor, CounterRandom& random) {
  switch (random.below(6)) {
    case 0:
      return {};
    case 1:
      return tensor.dim() > 0 ? other_shape(tensor, random) : at::Tensor();
    case 2:
      return other_dtype(tensor, random);
    case 3:
      return tensor.is_floating_point() ? other_numbers(tensor, random)
                                        : at::full(tensor.sizes(), odd_number(random), at::kLong).to(tensor.scalar_type());
    case 4:
      return at::zeros({0}, tensor.options());
    default:
      return other_numbers(tensor, random);
  }
}

/// Changes one number of quantization_config, wherever it is.
void damage_config(Json& value, CounterRandom& random) {
  std::vector<Json*> numbers;
  const std::function<void(Json&)> collect = [&](Json& each) {
    if (each.is_number_integer()) {
      numbers.push_back(&each);
    } else if (each.is_structured()) {
      for (Json& inner : each) {
        collect(inner);
      }
    }
  };
  collect(value);
  if (!numbers.empty()) {
    *numbers[random.below(numbers.size())] = odd_number(random);
  }
}

void write_folder(const Folder& folder, const lora::test::TemporaryFolder& to) {
  std::vector<io::NamedTensor> tensors;
  for (const auto& [name, tensor] : folder.tensors) {
    if (tensor.defined()) {
      tensors.push_back({name, tensor});
    }
  }
  io::save_tensors(to / "model.safetensors", tensors);
}

/// Reads and decodes everything. Returns the error's text; "": it was read.
std::string read_error(const fs::path& path, const Json& config) {
  try {
    const JsonReader reader(config, "config.json", ErrorKind::kModel);
    const auto checkpoint = packed_checkpoint(std::make_unique<io::SafetensorsCheckpoint>(path), reader.object("quantization_config"),
                                              [](const std::string&) { return false; });
    checkpoint->notes();
    for (const std::string& name : checkpoint->names()) {
      EXPECT_EQ(checkpoint->facts(name).shape, checkpoint->tensor(name).sizes().vec()) << name;
    }
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kModel) << error.what();
    return error.what();
  }
}

TEST(DamagedPackedFolders, AreRefusedOrRead) {
  constexpr std::array<const char*, 10> kFolders{
      "gptq/3bit",  "gptq/desc_act",  "awq/gemm", "compressed_tensors/pack_quantized", "compressed_tensors/actorder",
      "compressed_tensors/int_quantized", "compressed_tensors/float_quantized", "fp8/ue8m0", "hqq/4bit", "bitsandbytes_models/nf4_dq"};
  const int count = lora::test::damaged_files(200);
  const lora::test::TemporaryFolder target;
  CounterRandom random(1);
  int refused = 0;
  int64_t memory = 0;
  std::map<std::string, Folder> folders;
  for (const char* name : kFolders) {
    folders.emplace(name, read_folder(name));
  }
  for (int i = 0; i < count; ++i) {
    Folder folder = folders.at(kFolders[static_cast<size_t>(i) % kFolders.size()]);
    const std::string part = std::next(folder.tensors.begin(), static_cast<std::ptrdiff_t>(random.below(folder.tensors.size())))->first;
    if (random.below(5) == 0) {
      damage_config(folder.config["quantization_config"], random);
    } else {
      folder.tensors[part] = damaged(folder.tensors[part], random);
    }
    write_folder(folder, target);
    if (i == 50) {
      memory = lora::test::peak_memory();
    }
    const std::string error = read_error(target.path(), folder.config);
    refused += error.empty() ? 0 : 1;
    if (!error.empty()) {
      EXPECT_THAT(error, testing::AnyOf(testing::HasSubstr("tensor '"), testing::HasSubstr("quantization_config"))) << i << " " << part;
      EXPECT_THAT(error, testing::Not(testing::HasSubstr("\n"))) << i;
    }
  }
  EXPECT_GT(refused, count / 3);
  EXPECT_LT(refused, count);
  EXPECT_LT(lora::test::peak_memory() - memory, kMostMemory);
}

TEST(DamagedPackedFolders, MayBeCutOffAnywhere) {
  const lora::test::TemporaryFolder target;
  const fs::path source = fs::path(lora::test::data_folder()) / "quantized/gptq/4bit";
  const std::string whole = read_file(source / "model.safetensors", ErrorKind::kModel);
  const Json config = read_json(source / "config.json", ErrorKind::kModel);
  CounterRandom random(2);
  for (int i = 0; i < 100; ++i) {
    target.write("model.safetensors", whole.substr(0, random.below(whole.size())));
    EXPECT_NE(read_error(target.path(), config), "");
  }
}

}  // namespace
}  // namespace lora::quantization

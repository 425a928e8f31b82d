// What every method gets from config/method_keys.h, by a method that there is not.
#include "config/method_keys.h"

#include <gmock/gmock.h>

#include "sandbox.h"

namespace lora::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct PrefixOptions : peft::AdapterOptions {
  int64_t num_virtual_tokens = 20;
  bool prefix_projection = false;
};

const Table<PrefixOptions>& prefix_table() {
  static const Table<PrefixOptions> kTable = [] {
    Table<PrefixOptions> table;
    table.fixed("peft_type", {"PREFIX"}, "")
        .value(
            "num_virtual_tokens", [](auto& o) -> auto& { return o.num_virtual_tokens; }, integer(1, 100), "")
        .value(
            "prefix_projection", [](auto& o) -> auto& { return o.prefix_projection; }, boolean(), "");
    add_metadata(table);
    add_init_from(table);
    return table;
  }();
  return kTable;
}

MethodKeys<PrefixOptions> prefix_keys() {
  return {"PREFIX", prefix_table(),
          [](const PrefixOptions& options, const Json&, const ConfigPlace& at) {
            if (options.prefix_projection && options.num_virtual_tokens > 50) {
              at.key("prefix_projection").add("too large");
            }
          },
          [](const Json& start, const Json& section, const ConfigPlace& at) {
            if (section.value("num_virtual_tokens", start["num_virtual_tokens"]) != start["num_virtual_tokens"]) {
              at.key("num_virtual_tokens").add("not that of init_from");
            }
          },
          [](const Json&, const std::filesystem::path&, AdapterUse use, PrefixOptions& options, const ConfigPlace&) {
            options.has_task = use == AdapterUse::kTrain;
          }};
}

/// The section, and its findings.
struct ReadSection {
  ReadSection(const Sandbox& sandbox, const char* text) {
    Findings findings;
    const Surroundings surroundings;
    section = read_section(prefix_keys(), Json::parse(text), {"adapter", findings}, {sandbox.folder(), sandbox.folder(), surroundings});
    try {
      findings.throw_if_any();
    } catch (const Error& error) {
      found = split(error.what(), '\n');
    }
  }

  Section<PrefixOptions> section;
  std::vector<std::string> found;
};

TEST(MethodKeys, AMethodHasPeftsMetadataAndInitFrom) {
  const Sandbox sandbox;
  const ReadSection own(sandbox, R"({"peft_type": "PREFIX", "num_virtual_tokens": 5, "peft_version": "0.21.2", "inference_mode": true})");
  EXPECT_THAT(own.found, IsEmpty());
  EXPECT_EQ(own.section.options.num_virtual_tokens, 5);
  EXPECT_EQ(own.section.options.config["peft_version"], "0.21.2");
  EXPECT_EQ(own.section.resolved["init_from"], nullptr);
  EXPECT_FALSE(own.section.options.init_from);
  EXPECT_THAT(ReadSection(sandbox, R"({"peft_type": "PREFIX", "num_virtual_tokens": 60, "prefix_projection": true, "x": 1})").found,
              ElementsAre(HasSubstr("[adapter.x] unknown key"), "[adapter.prefix_projection] too large"));
}

TEST(MethodKeys, InitFromSuppliesWhatIsNotGiven) {
  const Sandbox sandbox;
  sandbox.write("start/adapter_config.json",
                R"({"peft_type": "PREFIX", "num_virtual_tokens": 7, "prefix_projection": true, "peft_version": "0.17.0", "later": null})");
  const ReadSection continued(sandbox, R"({"peft_type": "PREFIX", "init_from": "start", "prefix_projection": false})");
  EXPECT_THAT(continued.found, IsEmpty());
  EXPECT_EQ(continued.section.options.num_virtual_tokens, 7);
  EXPECT_FALSE(continued.section.options.prefix_projection);
  EXPECT_EQ(continued.section.options.init_from, sandbox.folder() / "start");
  EXPECT_EQ(continued.section.options.config, Json::parse(R"({"num_virtual_tokens": 7, "peft_version": "0.17.0", "peft_type": "PREFIX",
                                                              "prefix_projection": false})"))
      << "with neither init_from nor the unknown key";
  EXPECT_EQ(continued.section.resolved["init_from"], (sandbox.folder() / "start").string());
  EXPECT_TRUE(continued.section.options.has_task) << "settled as an adapter that is trained";
  EXPECT_THAT(ReadSection(sandbox, R"({"peft_type": "PREFIX", "init_from": "start", "num_virtual_tokens": 8})").found,
              ElementsAre("[adapter.num_virtual_tokens] not that of init_from"));
  sandbox.write("start/adapter_config.json", R"({"peft_type": "LORA", "num_virtual_tokens": 7})");
  EXPECT_THAT(ReadSection(sandbox, R"({"peft_type": "PREFIX", "init_from": "start"})").found,
              ElementsAre(HasSubstr("adapter_config.json:peft_type] found \"LORA\", expected \"PREFIX\"")));
}

TEST(MethodKeys, AStoredAdapterIsSettledForComputing) {
  const Sandbox sandbox;
  Findings findings;
  const Json config = Json::parse(R"({"peft_type": "PREFIX", "num_virtual_tokens": 7, "revision": "main"})");
  const PrefixOptions options =
      read_stored(prefix_keys(), config, sandbox.folder(), stored_place(sandbox.folder(), {"--adapter", findings}));
  findings.throw_if_any();
  EXPECT_EQ(options.num_virtual_tokens, 7);
  EXPECT_EQ(options.init_from, sandbox.folder());
  EXPECT_FALSE(options.has_task);
}

}  // namespace
}  // namespace lora::config

#include "lora/base/option_names.h"

#include <gtest/gtest.h>

namespace lora {
namespace {

TEST(OptionNames, ReplaceOnlyWholeWords) {
  use_option_names({{"model.path", "--model"}, {"data.train", "--data"}, {"data.train_on", "--train-on"}});
  EXPECT_EQ(with_option_names("[model.path] is none. Set model.path, or (model.path)."), "[--model] is none. Set --model, or (--model).");
  EXPECT_EQ(with_option_names("[data.train_on] with data.train"), "[--train-on] with --data");
  for (const char* other :
       {"/x/model.path", "my_model.path", "a.model.path", "model.paths", "model.path.bak", "model.path/y", "data.train[0]"}) {
    EXPECT_EQ(with_option_names(other), other);
  }
  use_option_names({});
  EXPECT_EQ(with_option_names("[model.path]"), "[model.path]");
}

}  // namespace
}  // namespace lora

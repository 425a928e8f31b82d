#include "diffusion/unet_config.h"

#include "support/expect_error.h"

namespace lora::diffusion {
namespace {

const char* const kFile = "unet/config.json";

TEST(UNetConfig, AbsentKeysHaveTheDefaultsOfTheClass) {
  const UNetConfig config = read_unet_config(Json::object(), kFile);
  ASSERT_EQ(config.levels.size(), 4u);
  EXPECT_EQ(config.levels[0].channels, 320);
  EXPECT_EQ(config.levels[3].channels, 1280);
  EXPECT_EQ(config.levels[1].num_heads, 8);
  EXPECT_EQ(config.levels[1].num_layers, 2);
  EXPECT_TRUE(config.levels[0].down_attends && config.levels[0].up_attends);
  EXPECT_FALSE(config.levels[3].down_attends || config.levels[3].up_attends);
  EXPECT_TRUE(config.has_mid_block && config.cosine_first);
  EXPECT_FALSE(config.linear_projection || config.added);
  EXPECT_EQ(config.cross_attention_dim, 1280);
  EXPECT_EQ(config.time_dim(), 1280);
  EXPECT_EQ(config.num_groups, 32);
}

TEST(UNetConfig, ReadsSdxl) {
  const UNetConfig config = read_unet_config(
      Json::parse(R"({"_class_name": "UNet2DConditionModel", "block_out_channels": [320, 640, 1280], "attention_head_dim": [5, 10, 20],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], "transformer_layers_per_block": [1, 2, 10],
        "cross_attention_dim": 2048, "use_linear_projection": true, "upcast_attention": null, "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816, "only_cross_attention": false})"),
      kFile);
  ASSERT_EQ(config.levels.size(), 3u);
  EXPECT_EQ(config.levels[2].num_transformer_blocks, 10);
  EXPECT_EQ(config.levels[2].num_heads, 20);
  EXPECT_FALSE(config.levels[0].down_attends || config.levels[0].up_attends);
  EXPECT_TRUE(config.levels[1].down_attends && config.levels[1].up_attends && config.levels[2].up_attends);
  EXPECT_EQ(config.added->input_dim, 2816);
  EXPECT_EQ(config.added->time_embed_dim, 256);
}

TEST(UNetConfig, RefusesWhatItHasNoPartFor) {
  const auto refuses = [](const char* text, const std::vector<std::string>& parts) {
    test::expect_error(ErrorKind::kModel, parts, [&] { read_unet_config(Json::parse(text), kFile); });
  };
  refuses(R"({"in_channels": 9})", {"unet/config.json: in_channels", "9", "inpainting"});
  refuses(R"({"class_embed_type": "timestep"})", {"class_embed_type", "timestep", "null"});
  refuses(R"({"time_cond_proj_dim": 256})", {"time_cond_proj_dim", "256"});
  refuses(R"({"resnet_time_scale_shift": "scale_shift"})", {"resnet_time_scale_shift", "default"});
  refuses(R"({"dual_cross_attention": true})", {"dual_cross_attention", "true", "false"});
  refuses(R"({"conv_in_kernel": 5})", {"conv_in_kernel", "5", "3"});
  refuses(R"({"num_attention_heads": 8})", {"num_attention_heads", "8", "null"});
  refuses(R"({"mid_block_type": "UNetMidBlock2D"})", {"mid_block_type", "UNetMidBlock2DCrossAttn"});
  refuses(R"({"down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"]})", {"down_block_types"});
  refuses(R"({"addition_embed_type": "image"})", {"addition_embed_type", "image", "text_time"});
  refuses(R"({"addition_embed_type": "text_time"})", {"addition_time_embed_dim"});
  refuses(R"({"act_fn": "gelu"})", {"act_fn", "gelu", "silu"});
}

TEST(UNetConfig, RefusesDamagedValues) {
  const auto refuses = [](const char* text, const std::vector<std::string>& parts) {
    test::expect_error(ErrorKind::kModel, parts, [&] { read_unet_config(Json::parse(text), kFile); });
  };
  refuses(R"([])", {"unet/config.json"});
  refuses(R"({"block_out_channels": []})", {"block_out_channels"});
  refuses(R"({"block_out_channels": [320, -1]})", {"block_out_channels"});
  refuses(R"({"block_out_channels": [320, 640]})", {"down_block_types", "2"});
  refuses(R"({"layers_per_block": 0})", {"layers_per_block"});
  refuses(R"({"layers_per_block": [1, 2]})", {"layers_per_block", "4"});
  refuses(R"({"attention_head_dim": 7})", {"attention_head_dim", "number of heads"});
  refuses(R"({"norm_num_groups": 7})", {"norm_num_groups", "320"});
  refuses(R"({"norm_num_groups": null})", {"norm_num_groups"});
  refuses(R"({"norm_eps": 0})", {"norm_eps", "positive"});
  refuses(R"({"mid_block_scale_factor": 0})", {"mid_block_scale_factor"});
  refuses(R"({"dropout": 1})", {"dropout"});
  refuses(R"({"cross_attention_dim": [8, 16, 8, 8]})", {"cross_attention_dim"});
  refuses(R"({"freq_shift": 200})", {"freq_shift", "below"});
}

}  // namespace
}  // namespace lora::diffusion

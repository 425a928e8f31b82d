#include "lora/ops/attention.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "support/gradients.h"
#include "support/tensors.h"

namespace lora::ops {
namespace {

using test::expect_equal;
using test::normal;

/// Owns what a DocumentLayout refers to.
class Documents {
 public:
  explicit Documents(const std::vector<int64_t>& lengths) {
    host_.push_back(0);
    for (const int64_t length : lengths) {
      host_.push_back(host_.back() + length);
      longest_ = std::max(longest_, length);
    }
    offsets_ = at::tensor(std::vector<int32_t>(host_.begin(), host_.end()), at::kInt);
  }
  DocumentLayout layout() const { return {offsets_, host_, longest_}; }
  int64_t tokens() const { return host_.back(); }
  int64_t begin(size_t document) const { return host_[document]; }

 private:
  std::vector<int64_t> host_;
  Tensor offsets_;
  int64_t longest_ = 0;
};

struct AttentionSetting {
  std::vector<int64_t> lengths;
  int64_t heads;
  int64_t key_heads;
  int64_t head_dim;
};

const std::vector<AttentionSetting> kAttentionSettings{{{3, 5, 2}, 4, 2, 6},          {{4, 4, 4}, 6, 2, 4},     {{7}, 3, 1, 5},
                                                       {{2, 2, 5, 5, 5, 1}, 2, 2, 8}, {{1, 1, 9, 1}, 4, 1, 10}, {{1}, 2, 1, 4}};

std::vector<Tensor> attention_inputs(const AttentionSetting& s, int64_t tokens, at::ScalarType type) {
  return {normal({tokens, s.heads, s.head_dim}, 1, type).requires_grad_(true),
          normal({tokens, s.key_heads, s.head_dim}, 2, type).requires_grad_(true),
          normal({tokens, s.key_heads, s.head_dim}, 3, type).requires_grad_(true)};
}

const AttentionOptions kUnrestricted{.scale = 0.37};

/// Windows that hide some keys, all but the last two, and none; caps; both.
const std::vector<AttentionOptions> kRestricted{{.scale = 0.37, .window = 3},
                                                {.scale = 0.37, .window = 2},
                                                {.scale = 0.37, .window = 100},
                                                {.scale = 0.37, .soft_cap = 0.8},
                                                {.scale = 0.37, .window = 2, .soft_cap = 0.5}};

/// The same with bidirectional attention; with a cache, attention is always causal.
std::vector<AttentionOptions> restricted_and_two_way() {
  std::vector<AttentionOptions> all = kRestricted;
  all.insert(all.end(), {{.scale = 0.37, .causal = false},
                         {.scale = 0.37, .window = 2, .causal = false},
                         {.scale = 0.37, .window = 100, .causal = false},
                         {.scale = 0.37, .window = 3, .soft_cap = 0.5, .causal = false}});
  return all;
}

TEST(CausalAttention, EqualsTheReferenceWithItsGradients) {
  for (const AttentionSetting& setting : kAttentionSettings) {
    const Documents documents(setting.lengths);
    const auto bind = [&documents](auto op) {
      return [&documents, op](const std::vector<Tensor>& in) { return op(in[0], in[1], in[2], documents.layout(), kUnrestricted); };
    };
    const std::string what = "first length " + std::to_string(setting.lengths[0]) + ", heads " + std::to_string(setting.heads);
    test::expect_same_as_reference(bind(document_attention), bind(document_attention_reference),
                                   attention_inputs(setting, documents.tokens(), at::kDouble), 1e-12, what);
    test::expect_same_as_reference(bind(document_attention), bind(document_attention_reference),
                                   attention_inputs(setting, documents.tokens(), at::kFloat), 2e-6, what);
    const auto narrow = attention_inputs(setting, documents.tokens(), at::kBFloat16);
    test::expect_close(bind(document_attention)(narrow), bind(document_attention_reference)(narrow), 0.02, what);
  }
}

TEST(CausalAttention, WindowsAndSoftCapsEqualTheReferenceWithTheirGradients) {
  for (const AttentionOptions& options : restricted_and_two_way()) {
    for (const AttentionSetting& setting : kAttentionSettings) {
      if (setting.lengths.size() == 1 && setting.lengths.front() == 1) {
        continue;  // the gradients of q and k are 0
      }
      const Documents documents(setting.lengths);
      const auto bind = [&](auto op) {
        return [&, op](const std::vector<Tensor>& in) { return op(in[0], in[1], in[2], documents.layout(), options); };
      };
      const std::string what = "window " + std::to_string(options.window.value_or(0)) + ", heads " + std::to_string(setting.heads);
      for (const auto& [type, tolerance] : {std::pair{at::kDouble, 1e-12}, {at::kFloat, 2e-6}}) {
        test::expect_same_as_reference(bind(document_attention), bind(document_attention_reference),
                                       attention_inputs(setting, documents.tokens(), type), tolerance, what);
      }
      const auto narrow = attention_inputs(setting, documents.tokens(), at::kBFloat16);
      test::expect_same_as_reference(bind(document_attention), bind(document_attention_reference), narrow, 0.03, what);
    }
  }
}

TEST(CausalAttention, WindowsAndSoftCapsEqualCentralDifferences) {
  const AttentionSetting setting{{3, 5}, 2, 1, 4};
  const Documents documents(setting.lengths);
  const auto inputs = attention_inputs(setting, documents.tokens(), at::kDouble);
  for (const AttentionOptions& options : restricted_and_two_way()) {
    for (const auto op : {document_attention, document_attention_reference}) {
      test::expect_gradients([&](const std::vector<Tensor>& in) { return op(in[0], in[1], in[2], documents.layout(), options); }, inputs,
                             1e-5, 1e-8);
    }
  }
}

TEST(CausalAttention, AWindowEndsBehindItsLastToken) {
  const Documents documents({6});
  const Tensor q = normal({6, 1, 4}, 1), k = normal({6, 1, 4}, 2), v = normal({6, 1, 4}, 3);
  for (const auto op : {document_attention, document_attention_reference}) {
    const Tensor before = op(q, k, v, documents.layout(), {.scale = 1, .window = 3}).clone();
    Tensor changed = v.clone();
    changed[1].add_(1);  // seen by tokens 1, 2 and 3
    const Tensor after = op(q, k, changed, documents.layout(), {.scale = 1, .window = 3});
    for (const int64_t token : {0, 4, 5}) {
      test::expect_near(after[token], before[token], 1e-15);
    }
    for (const int64_t token : {1, 2, 3}) {
      EXPECT_FALSE(at::equal(after[token], before[token]));
    }
  }
}

TEST(TwoWayAttention, AWindowReachesAsFarAheadAsBack) {
  const Documents documents({6, 2});
  const Tensor q = normal({8, 1, 4}, 1), k = normal({8, 1, 4}, 2), v = normal({8, 1, 4}, 3);
  for (const auto op : {document_attention, document_attention_reference}) {
    const AttentionOptions options{.scale = 1, .window = 3, .causal = false};
    const Tensor before = op(q, k, v, documents.layout(), options).clone();
    Tensor changed = v.clone();
    changed[3].add_(1);  // seen by tokens 1 to 5
    const Tensor after = op(q, k, changed, documents.layout(), options);
    for (const int64_t token : {0, 6, 7}) {
      test::expect_near(after[token], before[token], 1e-15);
    }
    for (const int64_t token : {1, 2, 3, 4, 5}) {
      EXPECT_FALSE(at::equal(after[token], before[token]));
    }
  }
}

TEST(TwoWayAttention, DocumentsOfSeveralBlocks) {
  const AttentionSetting setting{{70, 1, 128, 63, 300}, 4, 2, 10};
  const Documents documents(setting.lengths);
  for (const AttentionOptions& options :
       {AttentionOptions{.scale = 0.37, .window = 40, .causal = false}, AttentionOptions{.scale = 0.37, .causal = false}}) {
    const auto bind = [&](auto op) {
      return [&, op](const std::vector<Tensor>& in) { return op(in[0], in[1], in[2], documents.layout(), options); };
    };
    test::expect_same_as_reference(bind(document_attention), bind(document_attention_reference),
                                   attention_inputs(setting, documents.tokens(), at::kFloat), 3e-6);
  }
}

TEST(CausalAttention, DocumentsOfSeveralBlocks) {
  // Blocks of the CPU's kernel that end within documents, at their ends, and one position before.
  const AttentionSetting setting{{70, 1, 128, 63, 193}, 4, 2, 10};
  const Documents documents(setting.lengths);
  const auto bind = [&documents](auto op) {
    return [&documents, op](const std::vector<Tensor>& in) { return op(in[0], in[1], in[2], documents.layout(), kUnrestricted); };
  };
  const auto inputs = attention_inputs(setting, documents.tokens(), at::kFloat);
  test::expect_same_as_reference(bind(document_attention), bind(document_attention_reference), inputs, 3e-6);
  const auto narrow = attention_inputs(setting, documents.tokens(), at::kBFloat16);
  test::expect_same_as_reference(bind(document_attention), bind(document_attention_reference), narrow, 0.02);
  const auto restricted = [&documents](auto op) {
    return [&documents, op](const std::vector<Tensor>& in) {
      return op(in[0], in[1], in[2], documents.layout(), {.scale = 0.37, .window = 90, .soft_cap = 1.5});
    };
  };
  test::expect_same_as_reference(restricted(document_attention), restricted(document_attention_reference), inputs, 3e-6);
  // Large scores and views of a larger tensor.
  const auto scaled = [&](auto op) {
    return [&documents, op](const std::vector<Tensor>& in) {
      return op((in[0] * 30).slice(2, 0, 8), in[1].slice(2, 2, 10), in[2].slice(2, 1, 9), documents.layout(), kUnrestricted);
    };
  };
  test::expect_same_as_reference(scaled(document_attention), scaled(document_attention_reference), inputs, 2e-5);
}

TEST(CausalAttention, LongDocumentsEqualTheReferenceWithAnyNumberOfThreads) {
  const AttentionSetting setting{{512, 513, 40, 1100}, 4, 2, 8};
  const Documents documents(setting.lengths);
  const auto bind = [&documents](auto op) {
    return [&documents, op](const std::vector<Tensor>& in) { return op(in[0], in[1], in[2], documents.layout(), kUnrestricted); };
  };
  const auto inputs = attention_inputs(setting, documents.tokens(), at::kFloat);
  test::expect_same_as_reference(bind(document_attention), bind(document_attention_reference), inputs, 3e-6);
  const auto gradients = [&](int threads) {
    const int before = at::get_num_threads();
    at::set_num_threads(threads);
    const std::vector<Tensor> own = attention_inputs(setting, documents.tokens(), at::kBFloat16);
    const Tensor out = bind(document_attention)(own);
    (out * normal(out.sizes().vec(), 9, at::kBFloat16)).sum().backward();
    at::set_num_threads(before);
    return std::vector<Tensor>{out.detach(), own[0].grad(), own[1].grad(), own[2].grad()};
  };
  const std::vector<Tensor> one = gradients(1), three = gradients(3);
  for (size_t i = 0; i < one.size(); ++i) {
    expect_equal(three[i], one[i]);
  }
}

TEST(CausalAttention, Float64EqualsCentralDifferences) {
  for (const auto& lengths : {std::vector<int64_t>{3, 4}, std::vector<int64_t>{3, 3}}) {
    const AttentionSetting setting{lengths, 2, 1, 4};
    const Documents documents(lengths);
    const auto inputs = attention_inputs(setting, documents.tokens(), at::kDouble);
    for (const auto op : {document_attention, document_attention_reference}) {
      test::expect_gradients([&](const std::vector<Tensor>& in) { return op(in[0], in[1], in[2], documents.layout(), kUnrestricted); },
                             inputs, 1e-5, 1e-8);
    }
  }
}

TEST(CausalAttention, AFirstTokenSeesItselfAloneAndGroupsShareKeyHeads) {
  const Documents documents({1, 3});
  const Tensor q = normal({4, 4, 6}, 1, at::kFloat), k = normal({4, 2, 6}, 2, at::kFloat), v = normal({4, 2, 6}, 3, at::kFloat);
  const Tensor out = document_attention(q, k, v, documents.layout(), kUnrestricted);
  for (const int64_t first : {0, 1}) {  // the first token of each document: its output is its own value
    for (int64_t head = 0; head < 4; ++head) {
      test::expect_near(out[first][head], v[first][head / 2], 1e-6);
    }
  }
}

TEST(CausalAttention, DocumentsAndLaterTokensAreNotSeen) {
  for (const auto& lengths : {std::vector<int64_t>{5, 8, 3}, std::vector<int64_t>{6, 6, 6}}) {
    const Documents documents(lengths);
    const int64_t begin = documents.begin(1), end = documents.begin(2);
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
      std::vector<Tensor> inputs{normal({documents.tokens(), 4, 8}, 1, type), normal({documents.tokens(), 2, 8}, 2, type),
                                 normal({documents.tokens(), 2, 8}, 3, type)};
      const Tensor before = document_attention(inputs[0], inputs[1], inputs[2], documents.layout(), kUnrestricted).clone();
      for (Tensor& input : inputs) {  // everything outside document 1 changes
        input.slice(0, 0, begin).mul_(-3).add_(1);
        input.slice(0, end).mul_(5).sub_(2);
      }
      const Tensor after = document_attention(inputs[0], inputs[1], inputs[2], documents.layout(), kUnrestricted);
      expect_equal(after.slice(0, begin, end), before.slice(0, begin, end), "another document changed this one");
      EXPECT_FALSE(at::equal(after.slice(0, 0, begin), before.slice(0, 0, begin)));
      for (Tensor& input : inputs) {  // the last token of document 1
        input.slice(0, end - 1, end).add_(1);
      }
      const Tensor later = document_attention(inputs[0], inputs[1], inputs[2], documents.layout(), kUnrestricted);
      test::expect_near(later.slice(0, begin, end - 1), before.slice(0, begin, end - 1), 1e-6, "a later token changed an earlier one");
      EXPECT_FALSE(at::equal(later[end - 1], before[end - 1]));
    }
  }
}

/// A cache with slots, some of which are in the pass; owns what a KeyLayout refers to.
class Cache {
 public:
  struct Slot {
    int64_t begin;
    int64_t length;
  };
  Cache(const std::vector<Slot>& slots, int64_t places) {
    for (const Slot& slot : slots) {
      host_begins_.push_back(slot.begin);
      host_lengths_.push_back(slot.length);
      longest_ = std::max(longest_, slot.length);
    }
    host_begins_.push_back(places);
    begins_ = at::tensor(std::vector<int32_t>(host_begins_.begin(), host_begins_.end()), at::kInt);
    lengths_ = at::tensor(std::vector<int32_t>(host_lengths_.begin(), host_lengths_.end()), at::kInt);
  }
  KeyLayout layout() const { return {begins_, lengths_, host_begins_, host_lengths_, longest_}; }

 private:
  std::vector<int64_t> host_begins_, host_lengths_;
  Tensor begins_, lengths_;
  int64_t longest_ = 0;
};

TEST(CachedAttention, ValuesEqualTheReference) {
  // New tokens of each document in addition to its cached keys: whole documents, single tokens, several tokens after others; a gap
  // between slots, and NaN in the slots after the keys.
  const std::vector<std::pair<std::vector<int64_t>, std::vector<Cache::Slot>>> passes{{{5, 3}, {{0, 5}, {6, 3}}},
                                                                                      {{1, 1, 1}, {{0, 4}, {9, 1}, {12, 8}}},
                                                                                      {{1, 4, 3, 2}, {{0, 6}, {6, 4}, {11, 9}, {21, 4}}},
                                                                                      {{1}, {{3, 7}}}};
  const double nothing = std::numeric_limits<double>::quiet_NaN();
  for (const auto& [lengths, slots] : passes) {
    for (const auto& [heads, key_heads] : {std::pair<int64_t, int64_t>{4, 2}, {6, 1}, {3, 3}}) {
      const Documents queries(lengths);
      const Cache cache(slots, 25);
      for (const auto& [type, tolerance] : {std::pair{at::kDouble, 1e-12}, {at::kFloat, 2e-6}, {at::kBFloat16, 0.02}}) {
        const Tensor q = normal({queries.tokens(), heads, 8}, 1, type);
        Tensor k = at::full({25, key_heads, 8}, nothing, type), v = k.clone();
        for (const Cache::Slot& slot : slots) {
          k.slice(0, slot.begin, slot.begin + slot.length).copy_(normal({slot.length, key_heads, 8}, 2 + slot.begin, type));
          v.slice(0, slot.begin, slot.begin + slot.length).copy_(normal({slot.length, key_heads, 8}, 90 + slot.begin, type));
        }
        std::vector<AttentionOptions> all = kRestricted;
        all.push_back(kUnrestricted);
        for (const AttentionOptions& options : all) {
          const Tensor out = cached_attention(q, k, v, queries.layout(), cache.layout(), options);
          EXPECT_EQ(out.scalar_type(), type);
          test::expect_close(out, cached_attention_reference(q, k, v, queries.layout(), cache.layout(), options), tolerance);
        }
      }
    }
  }
}

TEST(CachedAttention, TokenByTokenGivesWhatTheWholeDocumentGives) {
  const Documents whole({7});
  const Tensor q = normal({7, 4, 6}, 1), k = normal({7, 2, 6}, 2), v = normal({7, 2, 6}, 3);
  const auto expect_same_in_steps = [&](const AttentionOptions& options, int64_t step) {
    const Tensor expected = document_attention_reference(q, k, v, whole.layout(), options);
    for (int64_t begin = 0; begin < 7; begin += step) {
      const int64_t end = std::min<int64_t>(begin + step, 7);
      const Documents fresh({end - begin});
      const Cache cache({{0, end}}, 7);
      for (const auto op : {cached_attention, cached_attention_reference}) {
        test::expect_close(op(q.slice(0, begin, end), k, v, fresh.layout(), cache.layout(), options), expected.slice(0, begin, end), 1e-12);
      }
    }
  };
  for (const int64_t step : {1, 2, 7}) {
    expect_same_in_steps(kUnrestricted, step);
    expect_same_in_steps({.scale = 0.37, .window = 3}, step);
    expect_same_in_steps({.scale = 0.37, .window = 4, .soft_cap = 0.6}, step);
  }
}

}  // namespace
}  // namespace lora::ops

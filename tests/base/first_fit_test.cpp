#include "lora/base/first_fit.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace lora {
namespace {

TEST(FirstFit, TakesTheLowestPieceThatFits) {
  FirstFit pieces(100);
  EXPECT_EQ(pieces.take(10), 0);
  EXPECT_EQ(pieces.take(20), 10);
  EXPECT_EQ(pieces.take(10), 30);
  pieces.give_back(0);
  EXPECT_EQ(pieces.take(15), 40);
  EXPECT_EQ(pieces.take(10), 0);
  pieces.give_back(10);
  EXPECT_EQ(pieces.take(5), 10);
  EXPECT_EQ(pieces.take(15), 15);
}

TEST(FirstFit, AdjacentFreePiecesAreJoined) {
  // In whatever order three pieces are given back, one piece of the whole size fits afterwards.
  std::vector<int64_t> order{0, 10, 20};
  do {
    FirstFit pieces(30);
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(pieces.take(10));
    }
    EXPECT_FALSE(pieces.take(1));
    for (const int64_t offset : order) {
      pieces.give_back(offset);
    }
    EXPECT_EQ(pieces.take(30), 0);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(FirstFit, APieceThatDoesNotFitTakesNothing) {
  FirstFit pieces(100);
  EXPECT_FALSE(pieces.take(101));
  EXPECT_EQ(pieces.take(100), 0);
}

TEST(FirstFit, PiecesNeverOverlap) {
  constexpr int64_t kCapacity = 2000;
  std::mt19937 random(7);
  FirstFit pieces(kCapacity);
  std::vector<int> owner(kCapacity, 0);
  struct Piece {
    int64_t offset, size;
    int id;
  };
  std::vector<Piece> taken;
  for (int id = 1; id < 20000; ++id) {
    if (taken.empty() || random() % 2 == 0) {
      const int64_t size = 1 + static_cast<int64_t>(random() % 100);
      if (const auto offset = pieces.take(size)) {
        for (int64_t i = *offset; i < *offset + size; ++i) {
          ASSERT_EQ(owner[static_cast<size_t>(i)], 0) << "byte " << i << " is taken twice";
          owner[static_cast<size_t>(i)] = id;
        }
        taken.push_back({*offset, size, id});
      }
    } else {
      std::swap(taken[random() % taken.size()], taken.back());
      const Piece piece = taken.back();
      taken.pop_back();
      std::fill_n(owner.begin() + piece.offset, piece.size, 0);
      pieces.give_back(piece.offset);
    }
  }
  for (const Piece& piece : taken) {
    pieces.give_back(piece.offset);
  }
  EXPECT_EQ(pieces.take(kCapacity), 0);
}

}  // namespace
}  // namespace lora

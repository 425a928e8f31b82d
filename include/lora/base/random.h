#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace lora {

/// Randomness without state: every random number is a pure function of a seed and of what and where it is used, so that a
/// resumed run, another batch size or other threads give the same numbers.

/// Finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
constexpr uint64_t mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

/// Combines a key with one more coordinate.
constexpr uint64_t mix64(uint64_t key, uint64_t coordinate) {
  return mix64(key ^ mix64(coordinate));
}

/// A name as a key (FNV-1a, then mixed): independent of the platform.
uint64_t hash_name(std::string_view name);

/// The stream of random numbers of one key.
class CounterRandom {
 public:
  explicit CounterRandom(uint64_t key) : key_(key) {}
  uint64_t next() { return mix64(key_, counter_++); }
  /// Uniform in [0, bound), without bias (rejection).
  uint64_t below(uint64_t bound);
  /// Uniform in [0, 1) with 53 bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

 private:
  uint64_t key_;
  uint64_t counter_ = 0;
};

/// Fills with standard normal numbers (Box and Muller 1958), each a function of the key and of its place.
void fill_normal(std::span<float> values, uint64_t key);

/// 0 … count-1 shuffled (Fisher–Yates). The same key gives the same order on every platform.
std::vector<int64_t> permutation(int64_t count, uint64_t key);

}  // namespace lora

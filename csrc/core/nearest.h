// One block of queries against one of the gallery: nearness of each pair, and which pairs beat what a query has already.
#pragma once

#include "element.h"
#include "micro.h"

namespace featdiv {

// Features in one chain of fused multiply-adds.
constexpr int nearest_chain = 64;

// Panels hold W rows feature by feature, as those of `PairBlock`.
struct NearestBlock {
  const float* left;
  const float* right;
  int64_t d;
  int left_valid, right_valid;
  const float* half_squares;  // [W] half the squared norms of the right rows, subtracted from products; null for none
  const float* thresholds;    // [W] what the nearness of each left row has to exceed
  float* nearness;            // [W W] out
  uint64_t* better;           // [W] out: bit j of entry i is set if right row j exceeds the threshold of left row i
};

template <int N>
FEATDIV_INLINE uint64_t greater_bits(Vec<float, N> a, Vec<float, N> b) {
#if defined(__AVX512F__)
  if constexpr (N == 16) return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ);
#endif
#if defined(__AVX2__)
  if constexpr (N == 8) return uint64_t(uint32_t(_mm256_movemask_ps(_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_GT_OQ))));
#endif
  uint64_t bits = 0;
  for (int i = 0; i < N; ++i) bits |= uint64_t(a[i] > b[i]) << i;
  return bits;
}

// Stores the nearness of each pair, `product(i, v)` less half the squares of the right rows in lanes v, and its bits.
template <class Isa, class Product>
FEATDIV_INLINE void mark_nearer(const NearestBlock& b, Product product) {
  constexpr int L = lanes<Isa, float>;
  constexpr int W = panel_width<Isa, float>;
  using V = Vec<float, L>;
  const uint64_t valid = b.right_valid == 64 ? ~uint64_t(0) : (uint64_t(1) << b.right_valid) - 1;
  for (int i = 0; i < b.left_valid; ++i) {
    const V threshold = V{} + b.thresholds[i];
    uint64_t bits = 0;
    for (int v = 0; v < 3; ++v) {
      V value = product(i, v);
      if (b.half_squares) value -= load<V>(b.half_squares + v * L);
      store(b.nearness + i * W + v * L, value);
      bits |= greater_bits<L>(value, threshold) << (v * L);
    }
    b.better[i] = bits & valid;
  }
}

template <class Isa>
void nearest_block(const NearestBlock& b) {
  constexpr int L = lanes<Isa, float>;
  constexpr int W = panel_width<Isa, float>;
  constexpr int M = micro_rows<Isa, float>;
  memset(b.nearness, 0, sizeof(float) * W * W);
  for (int64_t k = 0; k < b.d; k += nearest_chain) {
    const int depth = int(b.d - k < nearest_chain ? b.d - k : nearest_chain);
    const float* left = b.left + k * W;
    const float* right = b.right + k * W;
    for (int g = 0; g * M < b.left_valid; ++g) {
      const uintptr_t ahead = next_chain<Isa, float>(left, right, g, nearest_chain);
      micro_kernel<Isa, float, 3>(left + g * M, right, W, depth, b.nearness + g * M * W, W, ahead);
    }
  }
  mark_nearer<Isa>(b, [&](int i, int v) __attribute__((always_inline)) {
    return load<Vec<float, L>>(b.nearness + i * W + v * L);
  });
}

}  // namespace featdiv

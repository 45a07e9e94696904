// The register kernel of every product: a block of C += A^T B over packed panels.
#pragma once

#include "vec.h"

namespace featdiv {

// Bytes that one step over k asks the memory for ahead of time: what a block of micro_rows x W steps goes on to read.
template <class Isa, class T>
constexpr int ahead_step = 2 * micro_rows<Isa, T> * int(sizeof(T));

// c[i][j] += sum over k < depth of a[k][i] b[k][j] for `micro_rows` features i and NV vectors of features j. `a` and
// `b` point into panels whose rows are `stride` apart; rows of `c` are `c_stride` apart. The sum over k is one chain
// of fused multiply-adds from zero, so `depth` bounds how far same-sign rounding can drift. `ahead` is prefetched,
// `ahead_step` bytes a step; it may point anywhere.
template <class Isa, class T, int NV>
FEATDIV_INLINE void micro_kernel(const T* __restrict__ a, const T* __restrict__ b, int64_t stride, int depth,
                                 T* __restrict__ c, int64_t c_stride, uintptr_t ahead) {
  constexpr int L = lanes<Isa, T>;
  constexpr int M = micro_rows<Isa, T>;
  using V = Vec<T, L>;
  V acc[M][NV] = {};
  for (int k = 0; k < depth; ++k) {
    __builtin_prefetch(reinterpret_cast<const void*>(ahead));
    if constexpr (ahead_step<Isa, T> > 64) __builtin_prefetch(reinterpret_cast<const void*>(ahead + 64));
    ahead += ahead_step<Isa, T>;
    V right[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) right[v] = load<V>(b + v * L);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) {
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v) acc[i][v] += a[i] * right[v];
    }
    a += stride;
    b += stride;
  }
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v) store(c + i * c_stride + v * L, load<V>(c + i * c_stride + v * L) + acc[i][v]);
  }
}

// What group g of a block should prefetch while it works on one chain: its share of the next chain of both panels.
template <class Isa, class T>
FEATDIV_INLINE uintptr_t share_of_chain(const void* next_a, const void* next_b, int group, int chain) {
  const int64_t panel = int64_t(chain) * panel_width<Isa, T> * int64_t(sizeof(T));
  const int64_t offset = int64_t(group) * chain * ahead_step<Isa, T>;
  return offset < panel ? reinterpret_cast<uintptr_t>(next_a) + uintptr_t(offset)
                        : reinterpret_cast<uintptr_t>(next_b) + uintptr_t(offset - panel);
}

// The same of a chain that follows `a` and `b` in memory.
template <class Isa, class T>
FEATDIV_INLINE uintptr_t next_chain(const T* a, const T* b, int group, int chain) {
  const int64_t values = int64_t(chain) * panel_width<Isa, T>;
  return share_of_chain<Isa, T>(a + values, b + values, group, chain);
}

}  // namespace featdiv

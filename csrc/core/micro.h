// The register kernel of every product: a block of C += A^T B over packed panels.
#pragma once

#include "vec.h"

namespace featdiv {

// c[i][j] += sum over k < depth of a[k][i] b[k][j] for `micro_rows` features i and NV vectors of features j. `a` and
// `b` point into panels whose rows are `stride` apart; rows of `c` are `c_stride` apart. The sum over k is one chain
// of fused multiply-adds from zero, so `depth` bounds how far same-sign rounding can drift.
template <class Isa, class T, int NV>
FEATDIV_INLINE void micro_kernel(const T* __restrict__ a, const T* __restrict__ b, int64_t stride, int depth,
                                 T* __restrict__ c, int64_t c_stride) {
  constexpr int L = lanes<Isa, T>;
  constexpr int M = micro_rows<Isa, T>;
  using V = Vec<T, L>;
  V acc[M][NV] = {};
  for (int k = 0; k < depth; ++k) {
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

}  // namespace featdiv

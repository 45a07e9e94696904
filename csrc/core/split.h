// Floats as sums of bfloat16 terms, packed for a unit that multiplies tiles of pairs; and what such a unit is asked.
//
// x = h + m + l, each term the nearest bfloat16 to what is left, at most 2^-8 of it off: eight bits a term, so three hold
// a float32, two a float16 or a 16-bit integer, and one a bfloat16 or an 8-bit integer. Products of two terms are exact
// in float32.
#pragma once

#include "centre.h"

namespace featdiv {

// Features of one tile, and rows whose products one tile sums: sixteen pairs.
constexpr int tile_features = 16, tile_depth = 32;
// bfloat16 values of one tile.
constexpr int tile_values = tile_features * tile_depth;
// Features of one block of the product: two tiles on each side make four accumulators.
constexpr int split_width = 2 * tile_features;
// Tiles along the rows after which the accumulators are flushed to float64.
constexpr int flush_steps = 16;

// Rows to split. Of a group of `tile_features` features, step s (of `tile_depth` rows) and term t are the tile at
// ((group * group_steps + s) * terms + t): pairs of rows by features, the right-hand operand of a product. The left-hand
// one is turned from it when it is multiplied: to write both here would cost more than everything else that is done.
// Rows and features up to whole tiles, and groups to an even number, are filled with zeros.
struct SplitBlock {
  const float* panels;   // packed rows, 48 features a panel
  int64_t panel_stride;  // values from panel to panel
  int64_t n, d;
  int terms;
  uint16_t* out;         // where the first step of the first group goes
  int64_t group_steps;
  double* square;        // [features up to an even number of groups] out: sums of squares
};

// Packed terms of one side of a product.
struct SplitSide {
  const uint16_t* tiles;  // group 0, step 0
  int64_t d;
};

// Blocks of `split_width` features of either side.
struct SplitRange {
  int64_t first, end;
};

// A rectangle of blocks of a product of packed terms; of the product of one side with itself, those on the diagonal and
// above.
struct SplitProduct {
  SplitSide left, right;
  int64_t group_steps;       // steps for which groups have room
  int64_t steps;             // steps filled
  int terms;
  bool all;                  // two terms: whether their smallest product counts
  SplitRange rows, columns;  // blocks of the left and of the right side
  double sign;               // multiplies the product; -1 takes a former one back
  double* gram;              // [left d, right d] += the product, without the diagonal where the sides are the same;
                             // null where that is all that is wanted
  double* diagonal;          // [d] += the diagonal, where the sides are the same; null where it is not wanted
  // Where the steps are all there are, and one flush: the end of the product of one side with itself, in place of gram.
  const Centring* centring = nullptr;

  bool symmetric() const { return left.tiles == right.tiles; }
};

// Nearest bfloat16, ties to even, as a float: finite values below the largest bfloat16.
template <int N>
FEATDIV_INLINE Vec<uint32_t, N> nearest_bfloat16(Vec<float, N> x) {
  const auto bits = (Vec<uint32_t, N>)x;
  return (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;
}

// Adds the squares of the two halves of sixteen floats.
template <class VD>
FEATDIV_INLINE void add_squares(const float* x, VD* square) {
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    x += half * tile_features / 2;
#if defined(__AVX512F__)
    // gcc makes four instructions of __builtin_convertvector here.
    const VD wide = (VD)_mm512_maskz_cvtps_pd(0xff, _mm256_loadu_ps(x));
#else
    const VD wide = __builtin_convertvector((load<Vec<float, tile_features / 2>>(x)), VD);
#endif
    square[half] += wide * wide;
  }
}

// One step of one group: pairs of rows become the tiles of all terms.
template <int Terms, class VD>
FEATDIV_INLINE void split_step(const float* rows, int64_t stride, uint16_t* out, VD* square) {
  constexpr int L = tile_features;
  using V = Vec<float, L>;
#pragma GCC unroll 4
  for (int k = 0; k < tile_depth / 2; ++k, rows += 2 * stride) {
    V even = load<V>(rows), odd = load<V>(rows + stride);
    add_squares(rows, square);
    add_squares(rows + stride, square);
#pragma GCC unroll 3
    for (int t = 0; t < Terms; ++t) {
      const auto even_bits = nearest_bfloat16<L>(even), odd_bits = nearest_bfloat16<L>(odd);
      even -= (V)even_bits;
      odd -= (V)odd_bits;
      store(out + t * tile_values + 2 * k * L, (even_bits >> 16) | odd_bits);
    }
  }
}

template <class Isa, int Terms>
FEATDIV_INLINE void split_group(const SplitBlock& b, int64_t group) {
  constexpr int L = tile_features;
  constexpr int W = panel_width<Isa, float>;
  static_assert(W % L == 0, "a group of features must not cross panels");
  using VD = Vec<double, L / 2>;
  const float* rows = b.panels + group * L / W * b.panel_stride + group * L % W;
  uint16_t* out = b.out + group * b.group_steps * Terms * tile_values;
  VD square[2] = {};
  for (int64_t first = 0; first < b.n; first += tile_depth, out += Terms * tile_values) {
    if (group * L < b.d && b.n - first >= tile_depth) {
      split_step<Terms>(rows + first * W, W, out, square);
      continue;
    }
    alignas(64) float filled[tile_depth * L] = {};
    for (int64_t r = first; group * L < b.d && r < b.n; ++r)
      memcpy(filled + (r - first) * L, rows + r * W, sizeof(float) * L);
    split_step<Terms>(filled, L, out, square);
  }
  store(b.square + group * L, square[0]);
  store(b.square + group * L + L / 2, square[1]);
}

// Splits a block of packed rows.
template <class Isa>
void split_block(const SplitBlock& b) {
  const int64_t groups = (b.d + split_width - 1) / split_width * 2;
  for (int64_t group = 0; group < groups; ++group) {
    if (b.terms == 3) split_group<Isa, 3>(b, group);
    else if (b.terms == 2) split_group<Isa, 2>(b, group);
    else split_group<Isa, 1>(b, group);
  }
}

}  // namespace featdiv

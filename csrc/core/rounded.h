// Rows rounded at random, and the exponentials of a block of their pairs: a processor with VNNI multiplies 16-bit
// integers at twice the rate of floats.
#pragma once

#include "pairs.h"

namespace featdiv {

// Features whose products are added in int32: a multiple of the panel width. What they hold of the norm of a row
// bounds its scale.
constexpr int integer_chain = 144;
constexpr int integer_chain_words = integer_chain / 2;
// Integers of one chain with norms up to here have products that int32 holds; rounding adds at most the root of the
// chain to a norm.
constexpr float largest_norm = 46340.0f - 12.0f;
constexpr float largest_integer = 32766.0f;

// A panel of rows to round. What is kept has the expectation of the row, whatever it is, since rounding goes up or down
// by a uniform random number, a function of the numbers of row and feature alone; and errors of different entries are
// independent, so that those of products have mean zero and cancel in sums over pairs.
struct RoundBlock {
  const float* by_row;   // as `pack_block` leaves rows: panels of features
  int64_t panel_stride;  // values from panel to panel
  int64_t n, d;
  uint32_t stream;       // of the random numbers: one for each side of a product
  int64_t first_row;
  int32_t* words;        // [W times the words of a row] out
  float* units;          // [W] out: what an integer stands for; zero for a row of zeros. Unused by floating units
};

// The panels of one block of pairs, in place of those of floats.
struct RoundedSides {
  const int32_t* left;
  const int32_t* right;
  const float* left_units;
  const float* right_units;
};

// Every bit of the result depends on every bit of x.
template <class U>
FEATDIV_INLINE U mixed_bits(U x) {
  x = (x ^ (x >> 16)) * 0x85ebca6bu;
  x = (x ^ (x >> 13)) * 0xc2b2ae35u;
  return x ^ (x >> 16);
}

// Uniform bits for one vector of features of a row.
template <int L>
FEATDIV_INLINE Vec<uint32_t, L> random_bits(const RoundBlock& b, int64_t row, int64_t feature) {
  Vec<uint32_t, L> number;
  for (int i = 0; i < L; ++i) number[i] = uint32_t(feature + i);
  return mixed_bits(number * 0x9e3779b1u + mixed_bits(uint32_t(b.first_row + row) * 2 + b.stream));
}

// Words of 32 bits that hold a row as 16-bit integers, features 2k and 2k + 1 in word k; those of one feature pair of
// all rows of a panel follow one another.
inline int64_t integer_words(int64_t d) { return (d + 1) / 2; }

template <class Isa>
FEATDIV_INLINE float unit_of_row(const float* row, int64_t panel_stride, int64_t d) {
  constexpr int L = lanes<Isa, float>;
  constexpr int W = panel_width<Isa, float>;
  using V = Vec<float, L>;
  V peaks = {};
  float norms = 0;
  for (int64_t chain = 0; chain < d; chain += integer_chain) {
    V squares = {};
    for (int64_t j = chain; j < d && j < chain + integer_chain; j += L) {
      const V z = load<V>(row + j / W * panel_stride + j % W);
      const V size = magnitude<L>(z);
      peaks = size > peaks ? size : peaks;
      squares += z * z;
    }
    float sum = 0;
    for (int i = 0; i < L; ++i) sum += squares[i];
    norms = sum > norms ? sum : norms;
  }
  float peak = 0;
  for (int i = 0; i < L; ++i) peak = peaks[i] > peak ? peaks[i] : peak;
  const float by_peak = peak / largest_integer, by_norm = __builtin_sqrtf(norms) / largest_norm;
  return by_peak > by_norm ? by_peak : by_norm;
}

// The integer of a value z is floor(z / unit + u).
template <class Isa>
void round_to_integers(const RoundBlock& b) {
  constexpr int L = lanes<Isa, float>;
  constexpr int W = panel_width<Isa, float>;
  static_assert(integer_chain % W == 0, "a chain is whole panels");
  using V = Vec<float, L>;
  using I = Vec<int32_t, L>;
  for (int i = 0; i < W; ++i) b.units[i] = i < b.n ? unit_of_row<Isa>(b.by_row + i * W, b.panel_stride, b.d) : 0.0f;
  for (int64_t first = 0; first < b.d; first += W) {
    // One row after the other here, words of all rows side by side there.
    alignas(64) int32_t rounded[W][W / 2] = {};
    for (int r = 0; r < int(b.n); ++r) {
      const float* from = b.by_row + first / W * b.panel_stride + r * W;
      // A row so short that its scale leaves the range of floats counts as zero: its products are nothing by others.
      const float scale = b.units[r] > 0x1p-100f ? 1.0f / b.units[r] : 0.0f;
      for (int v = 0; v < 3 && first + v * L < b.d; ++v) {
        const auto bits = random_bits<L>(b, r, first + v * L);
        const V x = load<V>(from + v * L) * scale + __builtin_convertvector((I)(bits >> 8), V) * 0x1p-24f;
        I whole = __builtin_convertvector(x, I);
        whole += (I)(__builtin_convertvector(whole, V) > x);  // truncation rounds towards zero: true is -1
        const auto narrow = __builtin_convertvector(whole, Vec<int16_t, L>);
        memcpy(&rounded[r][v * L / 2], &narrow, sizeof narrow);
      }
    }
    const int64_t words = b.d - first < W ? (b.d - first + 1) / 2 : W / 2;
    for (int64_t k = 0; k < words; ++k)
      for (int r = 0; r < W; ++r) b.words[(first / 2 + k) * W + r] = rounded[r][k];
  }
}

// c[i][j] += the products of words of `micro_rows` rows i and three vectors of rows j, added as integers.
template <class Isa>
FEATDIV_INLINE void integer_kernel(const int32_t* __restrict__ a, const int32_t* __restrict__ b, int depth,
                                   float* __restrict__ c, uintptr_t ahead) {
  constexpr int L = lanes<Isa, float>;
  constexpr int M = micro_rows<Isa, float>;
  constexpr int W = panel_width<Isa, float>;
  using V = Vec<float, L>;
  using I = Vec<int32_t, L>;
  I sums[M][3] = {};
  for (int k = 0; k < depth; ++k, a += W, b += W) {
    __builtin_prefetch(reinterpret_cast<const void*>(ahead));
    ahead += ahead_step<Isa, float>;
    I right[3];
#pragma GCC unroll 3
    for (int v = 0; v < 3; ++v) right[v] = load<I>(b + v * L);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) {
#pragma GCC unroll 3
      for (int v = 0; v < 3; ++v) sums[i][v] = Isa::add_products(sums[i][v], a[i], right[v]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 3
    for (int v = 0; v < 3; ++v)
      store(c + i * W + v * L, load<V>(c + i * W + v * L) + __builtin_convertvector(sums[i][v], V));
  }
}

// `pair_block` for the exponentials alone.
template <class Isa>
void integer_pair_block(const PairBlock<float>& b, const RoundedSides& sides) {
  constexpr int L = lanes<Isa, float>;
  constexpr int M = micro_rows<Isa, float>;
  constexpr int W = panel_width<Isa, float>;
  using V = Vec<float, L>;
  alignas(64) float products[W * W] = {};
  const int64_t words = integer_words(b.d);
  for (int64_t k = 0; k < words; k += integer_chain_words) {
    const int depth = int(words - k < integer_chain_words ? words - k : integer_chain_words);
    const int32_t* left = sides.left + k * W;
    const int32_t* right = sides.right + k * W;
    for (int g = 0; g * M < b.left_valid; ++g) {
      const uintptr_t ahead = next_chain<Isa, float>(reinterpret_cast<const float*>(left),
                                                     reinterpret_cast<const float*>(right), g, integer_chain_words);
      integer_kernel<Isa>(left + g * M, right, depth, products + g * M * W, ahead);
    }
  }
  for (int i = 0; i < b.left_valid; ++i)
    for (int v = 0; v < 3; ++v) {
      float* const row = products + i * W + v * L;
      store(row, load<V>(row) * (load<V>(sides.right_units + v * L) * sides.left_units[i]));
    }
  add_exponentials<Isa, float, false>(b, products);
}

}  // namespace featdiv

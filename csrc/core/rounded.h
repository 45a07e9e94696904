// Rows rounded to 16-bit integers, which a processor with VNNI multiplies at twice the rate of floats; and the
// exponentials of a block of pairs of rows that were rounded at random.
#pragma once

#include "nearest.h"
#include "pairs.h"

namespace featdiv {

// Words of two rows of a product that are multiplied before the next ones are fetched: those of a panel and the sums of
// a block fit the first-level cache.
constexpr int integer_chain_words = 64;
// The sum of products of rows of integers is at most the product of their norms: up to here int32 holds it.
constexpr float largest_norm = 46340.0f;
constexpr float largest_integer = 32766.0f;
// One over it is a float.
constexpr float least_unit = 0x1p-100f;

// A panel of rows to round. At random, what is kept has the expectation of the row, whatever it is, since rounding goes
// up or down by a uniform random number, a function of the numbers of row and feature alone; and errors of different
// entries are independent, so that those of products have mean zero and cancel in sums over pairs.
struct RoundBlock {
  const float* by_row;   // as `pack_block` leaves rows: panels of features
  int64_t panel_stride;  // values from panel to panel
  int64_t n, d;
  uint32_t stream;       // of the random numbers: one for each side of a product
  int64_t first_row;
  int32_t* words;        // [W times the words of a row] out
  float* units;          // [W] out: what an integer stands for; zero for a row of zeros. Unused by floating units
  // Where rows are rounded to nearest: norm of what rounding took away, at most.
  float* errors = nullptr;     // [W] out
  // Of tapered rows, see tapered.h: features before the bytes, and less 128 times the sum of the bytes.
  int64_t lead = 0;
  int32_t* offsets = nullptr;  // [W] out
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

// The greatest integer up to x.
template <int L>
FEATDIV_INLINE Vec<int32_t, L> floor_of(Vec<float, L> x) {
  const auto whole = __builtin_convertvector(x, Vec<int32_t, L>);
  const auto below = __builtin_convertvector(whole, Vec<float, L>) > x;  // truncation rounds towards zero
  return whole + (Vec<int32_t, L>)below;                                 // true is -1
}

// floor(z + u), with u uniform from 0 to 1.
template <int L>
FEATDIV_INLINE Vec<int32_t, L> floor_at_random(const RoundBlock& b, int64_t row, int64_t feature, Vec<float, L> z) {
  const auto bits = (Vec<int32_t, L>)(random_bits<L>(b, row, feature) >> 8);
  return floor_of<L>(z + __builtin_convertvector(bits, Vec<float, L>) * 0x1p-24f);
}

// Words of 32 bits that hold a row as 16-bit integers, features 2k and 2k + 1 in word k; those of one feature pair of
// all rows of a panel follow one another.
FEATDIV_INLINE int64_t integer_words(int64_t d) { return (d + 1) / 2; }

template <class Isa>
FEATDIV_INLINE float unit_of_row(const float* row, int64_t panel_stride, int64_t d) {
  constexpr int L = lanes<Isa, float>;
  constexpr int W = panel_width<Isa, float>;
  using V = Vec<float, L>;
  V peaks = {}, squares = {};
  for (int64_t j = 0; j < d; j += L) {
    const V z = load<V>(row + j / W * panel_stride + j % W);
    const V size = magnitude<L>(z);
    peaks = size > peaks ? size : peaks;
    squares += z * z;
  }
  float peak = 0, square = 0;
  for (int i = 0; i < L; ++i) {
    peak = peaks[i] > peak ? peaks[i] : peak;
    square += squares[i];
  }
  // Rounding adds less than the root of d to the norm of the integers; the sum of squares is off by d 2^-24 at most,
  // unless they vanish.
  const float root = __builtin_sqrtf(float(d)), room = largest_norm - root;
  const float norm = peak < 0x1p-40f ? peak * root : __builtin_sqrtf(square) * (1 + float(d) * 0x1p-24f);
  const float by_peak = peak / largest_integer, by_norm = norm / room;
  return by_peak > by_norm ? by_peak : by_norm;
}

// The integer of a value z is floor(z / unit + u), with u uniform from 0 to 1, or 1/2.
template <class Isa, bool Random>
void round_to_integers(const RoundBlock& b) {
  constexpr int L = lanes<Isa, float>;
  constexpr int W = panel_width<Isa, float>;
  using V = Vec<float, L>;
  using I = Vec<int32_t, L>;
  V squares[W] = {};
  for (int i = 0; i < W; ++i) b.units[i] = i < b.n ? unit_of_row<Isa>(b.by_row + i * W, b.panel_stride, b.d) : 0.0f;
  for (int64_t first = 0; first < b.d; first += W) {
    // One row after the other here, words of all rows side by side there.
    alignas(64) int32_t rounded[W][W / 2] = {};
    for (int r = 0; r < int(b.n); ++r) {
      const float* from = b.by_row + first / W * b.panel_stride + r * W;
      // A row so short that its scale leaves the range of floats counts as zero: its products are nothing by others.
      const float scale = b.units[r] > least_unit ? 1.0f / b.units[r] : 0.0f;
      for (int v = 0; v < 3 && first + v * L < b.d; ++v) {
        const V z = load<V>(from + v * L) * scale;
        I whole;
        if constexpr (Random) {
          whole = floor_at_random<L>(b, r, first + v * L, z);
        } else {
          whole = floor_of<L>(z + 0.5f);
          const V rest = z - __builtin_convertvector(whole, V);
          squares[r] += rest * rest;
        }
        const auto narrow = __builtin_convertvector(whole, Vec<int16_t, L>);
        memcpy(&rounded[r][v * L / 2], &narrow, sizeof narrow);
      }
    }
    const int64_t words = b.d - first < W ? (b.d - first + 1) / 2 : W / 2;
    for (int64_t k = 0; k < words; ++k)
      for (int r = 0; r < W; ++r) b.words[(first / 2 + k) * W + r] = rounded[r][k];
  }
  if constexpr (!Random) {
    for (int r = 0; r < W; ++r) {
      float square = 0;
      for (int i = 0; i < L; ++i) square += squares[r][i];
      // Beside what was taken away, the rounding of z, and of the sum of squares.
      const float norm = __builtin_sqrtf(square) * (1 + float(b.d) * 0x1p-24f) + 0.01f;
      b.errors[r] = b.units[r] * (b.units[r] > least_unit ? norm : largest_norm);
    }
  }
}

// Adds to sums[i][j] the products of words of `micro_rows` rows i and three vectors of rows j, of two integers or of four
// bytes each, those of rows i without signs.
template <class Isa, bool Bytes, class I>
FEATDIV_INLINE void multiply_words(const int32_t* __restrict__ a, const int32_t* __restrict__ b, int depth,
                                   I (&sums)[micro_rows<Isa, float>][3], uintptr_t ahead) {
  constexpr int L = lanes<Isa, float>;
  constexpr int M = micro_rows<Isa, float>;
  constexpr int W = panel_width<Isa, float>;
  for (int k = 0; k < depth; ++k, a += W, b += W) {
    __builtin_prefetch(reinterpret_cast<const void*>(ahead));
    ahead += ahead_step<Isa, float>;
    I right[3];
#pragma GCC unroll 3
    for (int v = 0; v < 3; ++v) right[v] = load<I>(b + v * L);
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) {
#pragma GCC unroll 3
      for (int v = 0; v < 3; ++v) {
        if constexpr (Bytes) sums[i][v] = Isa::add_byte_products(sums[i][v], a[i], right[v]);
        else sums[i][v] = Isa::add_products(sums[i][v], a[i], right[v]);
      }
    }
  }
}

// c[i][j] = the products of words of `micro_rows` rows i and three vectors of rows j, added as integers; to what is
// there already unless they are the `First`.
template <class Isa, bool First>
FEATDIV_INLINE void integer_kernel(const int32_t* __restrict__ a, const int32_t* __restrict__ b, int depth,
                                   int32_t* __restrict__ c, uintptr_t ahead) {
  constexpr int L = lanes<Isa, float>;
  constexpr int M = micro_rows<Isa, float>;
  constexpr int W = panel_width<Isa, float>;
  using I = Vec<int32_t, L>;
  I sums[M][3];
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 3
    for (int v = 0; v < 3; ++v) sums[i][v] = First ? I{} : load<I>(c + i * W + v * L);
  }
  multiply_words<Isa, false>(a, b, depth, sums, ahead);
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 3
    for (int v = 0; v < 3; ++v) store(c + i * W + v * L, sums[i][v]);
  }
}

// 2^x for x from 0 to 1, to 1e-7: the polynomial of least relative error.
template <int N>
FEATDIV_INLINE Vec<float, N> power_of_fraction(Vec<float, N> x) {
  Vec<float, N> p = x * 2.17022549e-4f + 1.24396873e-3f;
  p = p * x + 9.67884064e-3f;
  p = p * x + 5.54833412e-2f;
  p = p * x + 2.40229830e-1f;
  p = p * x + 6.93147004e-1f;
  return p * x + 1.0f;
}

// 2^x for x up to 100, to a unit or two in the last place; what is below the range of floats is zero, as is 2^(-1e30).
template <int N>
FEATDIV_INLINE Vec<float, N> power_of_two(Vec<float, N> x) {
  using V = Vec<float, N>;
#if defined(__AVX512DQ__)
  if constexpr (N == 16) {
    // With a mask of all lanes, as gcc 12 warns of an uninitialised operand in its own header otherwise.
    constexpr __mmask16 all = 0xffff;
    const __m512 r = _mm512_mask_reduce_ps((__m512)x, all, (__m512)x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    const __m512 p = (__m512)power_of_fraction<N>((V)r);
    return (V)_mm512_mask_scalef_ps(p, all, p, (__m512)x);
  }
#endif
  using I = Vec<int32_t, N>;
  const auto lost = x < -126.0f;
  x = lost ? V{} : x;
  const I whole = floor_of<N>(x);
  const V p = power_of_fraction<N>(x - __builtin_convertvector(whole, V));
  return lost ? V{} : (V)((I)p + (whole << 23));
}

// Adds the exponentials of the pairs of rounded rows. Products have errors of mean zero, and a distance that comes out
// below zero by them is taken as it is. Integers count in units of their rows.
template <class Isa, bool Triangle, class Product>
FEATDIV_INLINE void add_rounded_exponentials(const PairBlock<float>& b, const Product* products,
                                             const RoundedSides& sides) {
  constexpr int L = lanes<Isa, float>;
  constexpr int W = panel_width<Isa, float>;
  constexpr int D = lanes<Isa, double>;
  constexpr bool integers = __is_same(Product, int32_t);
  using V = Vec<float, L>;
  using VD = Vec<double, D>;
  V column[3], units[3];
  for (int v = 0; v < 3; ++v) {
    for (int i = 0; i < L; ++i) column[v][i] = float(v * L + i);
    if constexpr (integers) units[v] = load<V>(sides.right_units + v * L);
  }
  for (int rate = 0; rate < b.rate_count; ++rate) {
    // exp(-t |x - y|^2) = 2^(2 c x.y - c |x|^2 - c |y|^2), where all terms are rounded once, each on its own.
    const double c = b.rates[rate] * 1.4426950408889634;
    alignas(64) float left[W], right_squares[W], scale[W];
    for (int i = 0; i < W; ++i) {
      left[i] = float(c * double(b.left_squares[i]));
      right_squares[i] = i < b.right_valid ? float(c * double(b.right_squares[i])) : 1e30f;
      scale[i] = float(2 * c * (integers ? double(sides.left_units[i]) : 1.0));
    }
    V right[3];
    for (int v = 0; v < 3; ++v) right[v] = load<V>(right_squares + v * L);
    VD sum = {};
    for (int start = 0; start < b.left_valid; start += exp_rows) {
      const int stop = start + exp_rows < b.left_valid ? start + exp_rows : b.left_valid;
      V part[3] = {};
      for (int i = start; i < stop; ++i) {
#pragma GCC unroll 3
        for (int v = 0; v < 3; ++v) {
          const V product = __builtin_convertvector(load<Vec<Product, L>>(products + i * W + v * L), V);
          const V weight = integers ? units[v] * scale[i] : V{} + scale[i];
          const V e = power_of_two<L>(product * weight - (right[v] + left[i]));
          part[v] += !Triangle || column[v] > float(i) ? e : V{};
        }
      }
      const V all = part[0] + part[1] + part[2];
      for (int h = 0; h < L; h += D) {
        Vec<float, D> piece;
        memcpy(&piece, reinterpret_cast<const float*>(&all) + h, sizeof piece);
        sum += __builtin_convertvector(piece, VD);
      }
    }
    for (int i = 0; i < D; ++i) b.exp_sums[rate] += sum[i];
  }
}

// The sums of products of all words of two panels.
template <class Isa>
FEATDIV_INLINE void integer_products(int64_t d, int left_valid, const RoundedSides& sides, int32_t* products) {
  constexpr int M = micro_rows<Isa, float>;
  constexpr int W = panel_width<Isa, float>;
  const int64_t words = integer_words(d);
  for (int64_t k = 0; k < words; k += integer_chain_words) {
    const int depth = int(words - k < integer_chain_words ? words - k : integer_chain_words);
    const int32_t* left = sides.left + k * W;
    const int32_t* right = sides.right + k * W;
    for (int g = 0; g * M < left_valid; ++g) {
      const uintptr_t ahead = next_chain<Isa, float>(reinterpret_cast<const float*>(left),
                                                     reinterpret_cast<const float*>(right), g, integer_chain_words);
      if (k == 0) integer_kernel<Isa, true>(left + g * M, right, depth, products + g * M * W, ahead);
      else integer_kernel<Isa, false>(left + g * M, right, depth, products + g * M * W, ahead);
    }
  }
}

// `pair_block` for the exponentials alone.
template <class Isa>
void integer_pair_block(const PairBlock<float>& b, const RoundedSides& sides) {
  constexpr int W = panel_width<Isa, float>;
  alignas(64) int32_t products[W * W];
  integer_products<Isa>(b.d, b.left_valid, sides, products);
  if (b.triangle) add_rounded_exponentials<Isa, true>(b, products, sides);
  else add_rounded_exponentials<Isa, false>(b, products, sides);
}

// `nearest_block` of rows rounded to nearest, without floats to multiply.
template <class Isa>
void integer_nearest_block(const NearestBlock& b, const RoundedSides& sides) {
  constexpr int L = lanes<Isa, float>;
  constexpr int W = panel_width<Isa, float>;
  using V = Vec<float, L>;
  alignas(64) int32_t products[W * W];
  integer_products<Isa>(b.d, b.left_valid, sides, products);
  mark_nearer<Isa>(b, [&](int i, int v) __attribute__((always_inline)) {
    // The product of two small units would lose digits.
    const V product = __builtin_convertvector(load<Vec<int32_t, L>>(products + i * W + v * L), V);
    return product * sides.left_units[i] * load<V>(sides.right_units + v * L);
  });
}

}  // namespace featdiv

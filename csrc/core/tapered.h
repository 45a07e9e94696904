// Tapered rows: in a basis where features fall in size, the leading ones are rounded to 16-bit integers and the others
// to bytes, which VNNI multiplies at twice the rate. Little of what rounding to bytes takes away is in small features.
#pragma once

#include "rounded.h"

namespace featdiv {

// The integer of a leading feature is worth one over 2^finer_bits of a byte, so that its product is worth a shift less.
constexpr int finer_bits = 4;
// Adding a number below one, or rounding the quotient by a unit, does not lead out of a byte.
constexpr float largest_byte = 126.0f;
// What changes between bytes with a sign and without one.
constexpr int32_t byte_signs = int32_t(0x80808080u);

// The panels of one block of pairs.
struct TaperedSides {
  RoundedSides rounded;
  const int32_t* right_offsets;
  int64_t lead;
};

// Words of 32 bits that hold a row: leading features, a multiple of 16 of them, in pairs; the others by fours; and
// these once more without signs, as VNNI multiplies bytes without signs by bytes with signs.
FEATDIV_INLINE int64_t byte_words(int64_t d, int64_t lead) { return (d - lead + 3) / 4; }
FEATDIV_INLINE int64_t tapered_words(int64_t d, int64_t lead) { return lead / 2 + 2 * byte_words(d, lead); }

template <class Isa>
FEATDIV_INLINE float tapered_unit(const float* row, int64_t panel_stride, int64_t d, int64_t lead) {
  constexpr int L = lanes<Isa, float>;
  constexpr int W = panel_width<Isa, float>;
  using V = Vec<float, L>;
  V peaks = {};
  for (int64_t j = lead; j < d; j += L) {
    const V size = magnitude<L>(load<V>(row + j / W * panel_stride + j % W));
    peaks = size > peaks ? size : peaks;
  }
  float unit = lead ? unit_of_row<Isa>(row, panel_stride, lead) * float(1 << finer_bits) : 0.0f;
  for (int i = 0; i < L; ++i) unit = peaks[i] / largest_byte > unit ? peaks[i] / largest_byte : unit;
  return unit;
}

// Rounds at random: what is kept has the expectation of the row.
template <class Isa>
void taper_rows(const RoundBlock& b) {
  constexpr int L = lanes<Isa, float>;
  constexpr int W = panel_width<Isa, float>;
  using V = Vec<float, L>;
  using I = Vec<int32_t, L>;
  const int64_t bytes = byte_words(b.d, b.lead);
  memset(b.words, 0, sizeof(int32_t) * size_t(W * tapered_words(b.d, b.lead)));
  for (int r = 0; r < W; ++r) {
    const float* const row = b.by_row + r * W;
    b.units[r] = r < b.n ? tapered_unit<Isa>(row, b.panel_stride, b.d, b.lead) : 0.0f;
    b.offsets[r] = 0;
    if (r >= b.n) continue;
    // A row so short that its scale leaves the range of floats counts as zero: its products are nothing by others.
    const float scale = b.units[r] > least_unit ? 1.0f / b.units[r] : 0.0f;
    const auto integers = [&](int64_t j, float by) __attribute__((always_inline)) {
      return floor_at_random<L>(b, r, j, load<V>(row + j / W * b.panel_stride + j % W) * by);
    };
    int32_t* const words = b.words + r;
    for (int64_t j = 0; j < b.lead; j += L) {
      const auto narrow = __builtin_convertvector(integers(j, scale * float(1 << finer_bits)), Vec<int16_t, L>);
      int32_t pairs[L / 2];
      memcpy(pairs, &narrow, sizeof narrow);
      for (int k = 0; k < L / 2; ++k) words[(j / 2 + k) * W] = pairs[k];
    }
    I sums = {};
    for (int64_t j = b.lead; j < b.d; j += L) {
      const I whole = integers(j, scale);  // zero past the last feature, as the row is there
      sums += whole;
      const auto narrow = __builtin_convertvector(whole, Vec<int8_t, L>);
      int32_t fours[L / 4];
      memcpy(fours, &narrow, sizeof narrow);
      const int64_t first = (j - b.lead) / 4;
      for (int64_t k = first; k < first + L / 4 && k < bytes; ++k) {
        words[(b.lead / 2 + k) * W] = fours[k - first];
        words[(b.lead / 2 + bytes + k) * W] = fours[k - first] ^ byte_signs;
      }
    }
    for (int i = 0; i < L; ++i) b.offsets[r] -= 128 * sums[i];
  }
}

// Words of `micro_rows` left rows and of a panel of right rows to multiply.
struct WordChain {
  const int32_t* left;
  const int32_t* right;
  int depth;
};

// c[i][j] = the products of pairs of integers, in units of theirs, and then of bytes, in units of bytes, added to what is
// there already unless they are the `First`. Where they `Turn` from integers to bytes, sums turn from units to units.
template <class Isa, bool First, bool Turn>
FEATDIV_INLINE void tapered_kernel(const WordChain& integers, const WordChain& bytes, const int32_t* offsets,
                                   int32_t* __restrict__ c, uintptr_t ahead) {
  constexpr int L = lanes<Isa, float>;
  constexpr int M = micro_rows<Isa, float>;
  constexpr int W = panel_width<Isa, float>;
  constexpr int32_t half = 1 << (2 * finer_bits - 1);
  using I = Vec<int32_t, L>;
  I sums[M][3];
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 3
    for (int v = 0; v < 3; ++v) sums[i][v] = First ? I{} : load<I>(c + i * W + v * L);
  }
  multiply_words<Isa, false>(integers.left, integers.right, integers.depth, sums, ahead);
  if constexpr (Turn) {
#pragma GCC unroll 3
    for (int v = 0; v < 3; ++v) {
      const I offset = load<I>(offsets + v * L);
#pragma GCC unroll 8
      for (int i = 0; i < M; ++i) sums[i][v] = ((sums[i][v] + half) >> 2 * finer_bits) + offset;
    }
  }
  multiply_words<Isa, true>(bytes.left, bytes.right, bytes.depth, sums,
                            ahead + uintptr_t(integers.depth) * ahead_step<Isa, float>);
#pragma GCC unroll 8
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 3
    for (int v = 0; v < 3; ++v) store(c + i * W + v * L, sums[i][v]);
  }
}

// The sums of products of all features of two panels, in units of bytes.
template <class Isa>
FEATDIV_INLINE void tapered_products(int64_t d, int left_valid, const TaperedSides& sides, int32_t* products) {
  constexpr int M = micro_rows<Isa, float>;
  constexpr int W = panel_width<Isa, float>;
  const int64_t leading = sides.lead / 2, bytes = byte_words(d, sides.lead), words = leading + bytes;
  // Where a word of left rows lies: the bytes with signs are for right rows.
  const auto left_word = [&](int64_t k) { return k < leading ? k : k + bytes; };
  // Chains of equal length, since short ones take long.
  const int64_t chains = (words + integer_chain_words - 1) / integer_chain_words;
  for (int64_t chain = 0; chain < chains; ++chain) {
    const int64_t start = chain * words / chains, stop = (chain + 1) * words / chains;
    const int64_t turn = leading < start ? start : (leading < stop ? leading : stop);
    const bool turns = leading >= start && leading < stop;
    const int64_t next = stop < words ? left_word(stop) : words + bytes + left_word(0);
    const int32_t* const left_ahead = sides.rounded.left + next * W;
    const int32_t* const right_ahead = sides.rounded.right + stop % words * W;
    for (int g = 0; g * M < left_valid; ++g) {
      const int32_t* const left = sides.rounded.left + g * M;
      const WordChain integers{left + start * W, sides.rounded.right + start * W, int(turn - start)};
      const WordChain unsigned_bytes{left + (bytes + turn) * W, sides.rounded.right + turn * W, int(stop - turn)};
      const uintptr_t ahead = share_of_chain<Isa, float>(left_ahead, right_ahead, g, int(stop - start));
      int32_t* const sums = products + g * M * W;
      if (chain == 0 && turns)
        tapered_kernel<Isa, true, true>(integers, unsigned_bytes, sides.right_offsets, sums, ahead);
      else if (chain == 0)
        tapered_kernel<Isa, true, false>(integers, unsigned_bytes, sides.right_offsets, sums, ahead);
      else if (turns)
        tapered_kernel<Isa, false, true>(integers, unsigned_bytes, sides.right_offsets, sums, ahead);
      else
        tapered_kernel<Isa, false, false>(integers, unsigned_bytes, sides.right_offsets, sums, ahead);
    }
  }
}

// `pair_block` for the exponentials alone.
template <class Isa>
void tapered_pair_block(const PairBlock<float>& b, const TaperedSides& sides) {
  constexpr int W = panel_width<Isa, float>;
  alignas(64) int32_t products[W * W];
  tapered_products<Isa>(b.d, b.left_valid, sides, products);
  if (b.triangle) add_rounded_exponentials<Isa, true>(b, products, sides.rounded);
  else add_rounded_exponentials<Isa, false>(b, products, sides.rounded);
}

// One panel of rows times a basis. `columns` holds the rows feature by feature, `basis` panels of its vectors: d times W
// values each, feature by feature. `by_row` is as `pack_block` leaves rows.
template <class Isa>
void turn_into_basis(const float* columns, const float* basis, int64_t d, float* by_row) {
  constexpr int W = panel_width<Isa, float>;
  constexpr int M = micro_rows<Isa, float>;
  for (int64_t first = 0; first < d; first += W, basis += d * W, by_row += W * W) {
    memset(by_row, 0, sizeof(float) * W * W);
    for (int64_t k = 0; k < d; k += pair_chain) {
      const int depth = int(d - k < pair_chain ? d - k : pair_chain);
      const float* const left = columns + k * W;
      const float* const right = basis + k * W;
      for (int g = 0; g * M < W; ++g)
        micro_kernel<Isa, float, 3>(left + g * M, right, W, depth, by_row + g * M * W, W,
                                    next_chain<Isa, float>(left, right, g, pair_chain));
    }
  }
}

}  // namespace featdiv

// Products of packed bfloat16 terms on the tile registers of AMX.
#pragma once

#include "split.h"
#include "tile_unit.h"

namespace featdiv {

// Of kernels that only this instruction set compiles.
struct Amx : Avx512 {};

// Two groups of features on each side, at one step. Registers 0 ... 3 hold the sums, 4 and 5 left-hand tiles, 6 and 7
// right-hand ones.
struct TileOperands {
  const uint16_t* left;
  const uint16_t* right;
  int64_t left_group, right_group;  // values from group to group
};

FEATDIV_INLINE void load_left(const TileOperands& at, int term) {
  FEATDIV_TILE_LOAD(4, at.left + term * tile_values);
  FEATDIV_TILE_LOAD(5, at.left + at.left_group + term * tile_values);
}

FEATDIV_INLINE void load_right(const TileOperands& at, int term) {
  FEATDIV_TILE_LOAD(6, at.right + term * tile_values);
  FEATDIV_TILE_LOAD(7, at.right + at.right_group + term * tile_values);
}

template <bool Diagonal>
FEATDIV_INLINE void dot() {
  FEATDIV_TILE_DOT(0, 4, 6);
  FEATDIV_TILE_DOT(1, 4, 7);
  if constexpr (!Diagonal) FEATDIV_TILE_DOT(2, 5, 6);
  FEATDIV_TILE_DOT(3, 5, 7);
}

// Adds the products of one step other than the one of the largest terms, operands loaded as seldom as may be.
template <int Terms, bool Diagonal>
FEATDIV_INLINE void dot_small_terms(const TileOperands& at, bool all) {
  if constexpr (Terms == 3) {
    load_left(at, 1);
    load_right(at, 1);
    dot<Diagonal>();
    load_right(at, 0);
    dot<Diagonal>();
    load_left(at, 2);
    dot<Diagonal>();
    load_left(at, 0);
    load_right(at, 2);
    dot<Diagonal>();
    load_right(at, 1);
    dot<Diagonal>();
  }
  if constexpr (Terms == 2) {
    load_left(at, 0);
    load_right(at, 1);
    dot<Diagonal>();
    load_left(at, 1);
    if (all) dot<Diagonal>();
    load_right(at, 0);
    dot<Diagonal>();
  }
}

// Adds a flushed block of 32 x 32 sums to float64, or writes it where it is to stay.
template <bool Diagonal>
FEATDIV_INLINE void flush_tiles(const SplitProduct& p, int64_t left, int64_t right, const float (*sums)[256]) {
  const double sign = p.sign;
  const int64_t left_d = p.left.d, right_d = p.right.d;
  for (int tile = 0; tile < 4; ++tile) {
    if (Diagonal && tile == 2) continue;
    const int64_t i0 = left * split_width + tile / 2 * tile_features;
    const int64_t j0 = right * split_width + tile % 2 * tile_features;
    const int64_t rows = left_d - i0 < tile_features ? left_d - i0 : tile_features;
    const int64_t columns = right_d - j0 < tile_features ? right_d - j0 : tile_features;
    const bool on_diagonal = Diagonal && tile != 1;
    for (int64_t i = 0; i < rows; ++i) {
      const float* sum = sums[tile] + i * tile_features;
      if (on_diagonal && p.diagonal) p.diagonal[i0 + i] += double(sum[i]);
      if (!p.gram) continue;
      double* out = p.gram + (i0 + i) * right_d + j0;
      if (!Diagonal && columns == tile_features) {
        for (int j = 0; j < tile_features; ++j) out[j] += sign * double(sum[j]);
        continue;
      }
      for (int64_t j = on_diagonal ? i + 1 : 0; j < columns; ++j) out[j] += sign * double(sum[j]);
    }
    if (p.centring && rows > 0 && columns > 0)
      centre_part<Amx>(*p.centring, part_of_sums(sums[tile], tile_features, i0, j0, rows, columns));
  }
}

// Multiplies one block at the steps from `flush` to `end`; `turned` holds its left-hand tiles, the first step first.
template <int Terms, bool Diagonal>
FEATDIV_INLINE void multiply_block(const SplitProduct& p, const uint16_t* turned, int64_t left, int64_t right,
                                   int64_t flush, int64_t end) {
  constexpr int64_t step = Terms * tile_values;
  const int64_t group = p.group_steps * step;
  FEATDIV_TILE_ZERO(0);
  FEATDIV_TILE_ZERO(1);
  FEATDIV_TILE_ZERO(2);
  FEATDIV_TILE_ZERO(3);
  TileOperands at{turned, p.right.tiles + 2 * right * group + flush * step, flush_steps * step, group};
  const TileOperands first = at;
  // All small products first: next to the sums of the large ones their roundings would count as much as those.
  if constexpr (Terms > 1) {
    for (int64_t s = flush; s < end; ++s, at.left += step, at.right += step) dot_small_terms<Terms, Diagonal>(at, p.all);
    at = first;
  }
  for (int64_t s = flush; s < end; ++s, at.left += step, at.right += step) {
    load_left(at, 0);
    load_right(at, 0);
    dot<Diagonal>();
  }
  alignas(64) float sums[4][256];
  FEATDIV_TILE_STORE(0, sums[0]);
  FEATDIV_TILE_STORE(1, sums[1]);
  if constexpr (!Diagonal) FEATDIV_TILE_STORE(2, sums[2]);
  FEATDIV_TILE_STORE(3, sums[3]);
  flush_tiles<Diagonal>(p, left, right, sums);
}

// Left-hand tiles of one block at the steps between two flushes: in the second-level cache while it meets the blocks of
// the right side. One a thread, because it is too large for the stacks of some systems.
static thread_local uint16_t turned_tiles[2 * flush_steps * 3 * tile_values] __attribute__((aligned(64)));

template <int Terms>
void multiply_blocks(const SplitProduct& p) {
  constexpr int64_t step = Terms * tile_values;
  uint16_t* const turned = turned_tiles;
  const bool symmetric = p.symmetric();
  for (int64_t flush = 0; flush < p.steps; flush += flush_steps) {
    const int64_t end = flush + flush_steps < p.steps ? flush + flush_steps : p.steps;
    for (int64_t left = p.rows.first; left < p.rows.end; ++left) {
      int64_t right = symmetric && p.columns.first < left ? left : p.columns.first;
      if (right >= p.columns.end) continue;
      for (int group = 0; group < 2; ++group) {
        const uint16_t* from = p.left.tiles + ((2 * left + group) * p.group_steps + flush) * step;
        uint16_t* to = turned + group * flush_steps * step;
        for (int64_t tile = 0; tile < (end - flush) * Terms; ++tile, from += tile_values, to += tile_values)
          transpose_16(from, to);
      }
      if (symmetric && right == left) multiply_block<Terms, true>(p, turned, left, right++, flush, end);
      for (; right < p.columns.end; ++right) multiply_block<Terms, false>(p, turned, left, right, flush, end);
    }
  }
}

// Configures the tiles of this thread, multiplies, and gives the tiles back, so that nobody saves them in vain.
inline void multiply_on_tiles(const SplitProduct& p) {
  static constexpr TileConfig config{};
  FEATDIV_TILE_CONFIG(&config);
  if (p.terms == 3) multiply_blocks<3>(p);
  else if (p.terms == 2) multiply_blocks<2>(p);
  else multiply_blocks<1>(p);
  FEATDIV_TILE_RELEASE();
}

}  // namespace featdiv

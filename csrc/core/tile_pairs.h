// The exponentials of a block of pairs of rows from products on the tile registers of AMX. A row is the sum of two
// bfloat16 terms, each rounded at random, so that the product of the two small ones, left out, has mean zero as well.
#pragma once

#include "rounded.h"
#include "split.h"
#include "tile_unit.h"

namespace featdiv {

// Steps of `tile_depth` features after which sums leave the registers, as rounding of one sign adds up in a chain.
constexpr int64_t pair_flush_steps = 16;
// Tiles of a panel: three of sixteen rows, for each of two terms, as left-hand and as right-hand operand.
constexpr int64_t tile_words = tile_values / 2, step_words = 2 * 2 * 3 * tile_words;

// Words of 32 bits that hold one of the 48 rows of a panel.
inline int64_t term_words(int64_t d) { return (d + tile_depth - 1) / tile_depth * step_words / 48; }

FEATDIV_INLINE int64_t tile_at(int term, int side, int tile) { return ((term * 2 + side) * 3 + tile) * tile_words; }

template <class Isa>
void round_to_terms(const RoundBlock& b) {
  constexpr int L = lanes<Isa, float>;
  constexpr int W = panel_width<Isa, float>;
  static_assert(L == tile_features && W == 48, "a panel is three tiles wide");
  using V = Vec<float, L>;
  using U = Vec<uint32_t, L>;
  for (int64_t step = 0; step * tile_depth < b.d; ++step) {
    int32_t* const out = b.words + step * step_words;
    for (int r = 0; r < W; ++r)
      for (int half = 0; half < 2; ++half) {
        const int64_t feature = step * tile_depth + half * L;
        V rest = {};
        U random = {};
        if (r < b.n && feature < b.d) {
          rest = load<V>(b.by_row + feature / W * b.panel_stride + r * W + feature % W);
          random = random_bits<L>(b, r, feature);
        }
        for (int term = 0; term < 2; ++term) {
          // Sixteen random bits below those that stay carry into them as often as they should.
          const U bits = ((U)rest + (term ? random >> 16 : random & 0xffffu)) & 0xffff0000u;
          rest -= (V)bits;
          const auto narrow = __builtin_convertvector(bits >> 16, Vec<uint16_t, L>);
          memcpy(out + tile_at(term, 0, r / 16) + r % 16 * 16 + half * 8, &narrow, sizeof narrow);
        }
      }
    for (int term = 0; term < 2; ++term)
      for (int tile = 0; tile < 3; ++tile)
        transpose_16(out + tile_at(term, 0, tile), out + tile_at(term, 1, tile));
  }
}

// Adds the products of one step to registers 0, 1 and 2, operands loaded as seldom as may be.
FEATDIV_INLINE void dot_terms(const int32_t* left, const int32_t* right, int tile) {
  FEATDIV_TILE_LOAD(3, left + tile_at(0, 0, tile));
  FEATDIV_TILE_LOAD(4, right + tile_at(0, 1, 0));
  FEATDIV_TILE_LOAD(5, right + tile_at(0, 1, 1));
  FEATDIV_TILE_LOAD(6, right + tile_at(0, 1, 2));
  FEATDIV_TILE_DOT(0, 3, 4);
  FEATDIV_TILE_DOT(1, 3, 5);
  FEATDIV_TILE_DOT(2, 3, 6);
  FEATDIV_TILE_LOAD(7, left + tile_at(1, 0, tile));
  FEATDIV_TILE_DOT(0, 7, 4);
  FEATDIV_TILE_DOT(1, 7, 5);
  FEATDIV_TILE_DOT(2, 7, 6);
  FEATDIV_TILE_LOAD(4, right + tile_at(1, 1, 0));
  FEATDIV_TILE_LOAD(5, right + tile_at(1, 1, 1));
  FEATDIV_TILE_LOAD(6, right + tile_at(1, 1, 2));
  FEATDIV_TILE_DOT(0, 3, 4);
  FEATDIV_TILE_DOT(1, 3, 5);
  FEATDIV_TILE_DOT(2, 3, 6);
}

// `pair_block` for the exponentials alone. The tiles of this thread are given back, so that nobody saves them in vain.
template <class Isa>
void tile_pair_block(const PairBlock<float>& b, const RoundedSides& sides) {
  constexpr int W = panel_width<Isa, float>;
  static constexpr TileConfig config{};
  alignas(64) float products[W * W] = {};
  alignas(64) float sums[3][256];
  const int64_t steps = (b.d + tile_depth - 1) / tile_depth;
  FEATDIV_TILE_CONFIG(&config);
  for (int tile = 0; tile * 16 < b.left_valid; ++tile)
    for (int64_t flush = 0; flush < steps; flush += pair_flush_steps) {
      FEATDIV_TILE_ZERO(0);
      FEATDIV_TILE_ZERO(1);
      FEATDIV_TILE_ZERO(2);
      const int64_t end = flush + pair_flush_steps < steps ? flush + pair_flush_steps : steps;
      for (int64_t step = flush; step < end; ++step)
        dot_terms(sides.left + step * step_words, sides.right + step * step_words, tile);
      FEATDIV_TILE_STORE(0, sums[0]);
      FEATDIV_TILE_STORE(1, sums[1]);
      FEATDIV_TILE_STORE(2, sums[2]);
      for (int i = 0; i < 16; ++i)
        for (int j = 0; j < W; ++j) products[(tile * 16 + i) * W + j] += sums[j / 16][i * 16 + j % 16];
    }
  FEATDIV_TILE_RELEASE();
  if (b.triangle) add_rounded_exponentials<Isa, true>(b, products, sides);
  else add_rounded_exponentials<Isa, false>(b, products, sides);
}

}  // namespace featdiv

// Products of bfloat16 terms: in how many terms, how rows become them, which blocks make one task, and what certifies the
// result.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "scatter.h"

namespace featdiv {

// Rows packed by one task.
constexpr int64_t pack_rows = 64;
// Features packed as floats, in the first-level cache, before they are split: whole panels and whole blocks.
constexpr int64_t slab_features = 96;

// Blocks that one task multiplies.
struct Rectangle {
  SplitRange rows, columns;
};

// The fewest products of bfloat16 terms that keep a bound. Types of few bits are split exactly, where the rows are taken
// `as_they_are`: neither shifted, nor scaled, nor normalised.
inline Split choose_split(const SplitKernels* kernels, Element e, bool as_they_are, double bound) {
  if (!kernels) return {};
  const bool eight_bits = e == Element::bf16 || e == Element::i8 || e == Element::u8;
  const bool sixteen_bits = e == Element::f16 || e == Element::i16 || e == Element::u16;
  // Two terms are off by up to 0.75 of the bound of `mixed`, always; one by up to 2^-7, which may be too much.
  const double half = bound / 2;
  if (as_they_are && eight_bits) return {kernels, 1, false, half};
  if (bound < 0x1p-15) return {kernels, as_they_are && sixteen_bits ? 2 : 3, true, half};
  if (bound < 0x1p-8) return {kernels, 2, false, 0.8 * bound};
  return {kernels, 1, false, bound};
}

// Packs up to `pack_rows` rows and splits them, slab by slab of features; the floats are kept only where `block` has
// panels for them. `out` is where the first of the rows belongs in the first group; null to pack alone.
inline bool pack_terms(const PackBlock<float>& block, const ProductKernels<float>& product, const Split& split,
                       uint16_t* out, int64_t group_steps, double* square) {
  const int width = product.panel_width;
  alignas(64) float floats[pack_rows * slab_features];
  bool finite = true;
  for (int64_t first = 0; first < block.d; first += slab_features) {
    const auto from = [first](auto* columns) { return columns ? columns + first : nullptr; };
    PackBlock<float> slab = block;
    slab.rows += first * element_size[int(block.element)];
    slab.d = std::min(slab_features, block.d - first);
    slab.panels = block.panels ? block.panels + first / width * block.panel_stride : floats;
    slab.panel_stride = block.panels ? block.panel_stride : pack_rows * width;
    slab.shift = from(block.shift);
    slab.scale = from(block.scale);
    slab.shift32 = from(block.shift32);
    slab.scale32 = from(block.scale32);
    slab.total += first;
    slab.peak += first;
    finite &= product.pack(slab);
    if (!out) continue;
    split.kernels->split({slab.panels, slab.panel_stride, block.n, slab.d, split.terms,
                          out + first / tile_features * group_steps * split.terms * tile_values, group_steps,
                          square + first});
  }
  return finite;
}

// Sums of squares of d columns over the blocks of a tile, if the diagonal of its product agrees with them; else nothing.
inline std::vector<double> certified_squares(const double* square, int64_t blocks, int64_t stride, int64_t d,
                                             const double* diagonal, double tolerance) {
  std::vector<double> sum(square, square + d);
  for (int64_t block = 1; block < blocks; ++block)
    for (int64_t j = 0; j < d; ++j) sum[size_t(j)] += square[block * stride + j];
  for (int64_t j = 0; j < d; ++j)
    if (!(std::fabs(diagonal[j] - sum[size_t(j)]) <= tolerance * sum[size_t(j)])) return {};
  return sum;
}

// Deals out the blocks of a product, or of its upper triangle. A left-hand block is turned once in each rectangle that
// it is in, which takes about as long as one product of blocks: so they are as wide as the number of threads allows.
inline std::vector<Rectangle> plan_rectangles(int64_t rows, int64_t columns, bool triangle, int threads) {
  std::vector<Rectangle> plan;
  const int64_t wanted = threads > 1 ? 4 * int64_t(threads) : 1;
  int64_t height = threads > 1 ? 2 : rows, width = columns;
  for (;;) {
    plan.clear();
    for (int64_t row = 0; row < rows; row += height)
      for (int64_t column = triangle ? row : 0; column < columns; column += width)
        plan.push_back({{row, std::min(row + height, rows)}, {column, std::min(column + width, columns)}});
    if (int64_t(plan.size()) >= wanted || height * width == 1) return plan;
    if (width > 2) width = (width + 1) / 2;
    else height = width = 1;
  }
}

}  // namespace featdiv

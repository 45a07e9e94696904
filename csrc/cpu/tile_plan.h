// How the product of packed bfloat16 terms is done: in how many terms, and which blocks make one task.
#pragma once

#include <algorithm>
#include <vector>

#include "scatter.h"

namespace featdiv {

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

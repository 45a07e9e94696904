// One block of a product, of panels with themselves or with others, into float64.
#pragma once

#include "centre.h"
#include "micro.h"

namespace featdiv {

// Rows in one chain of fused multiply-adds. Columns of constant magnitude round the same way at every addition: a
// float32 chain of m such products is off by up to about m/3 2^-24, relative.
constexpr int product_chain = 32;
// Rows added in the working precision before a block is flushed to float64: a second chain, of 16 sums.
constexpr int flush_rows = 512;

// Packed rows on both sides of a product.
template <class T>
struct PanelProduct {
  const T* left;
  const T* right;        // the same panels, or others of the same rows
  int64_t panel_stride;  // values from panel to panel, on both sides
  int64_t n;
  int64_t left_d, right_d;
  double* gram;          // [left_d, right_d] +=; where the panels are the same, entries j >= i alone
};

struct GramBlock {
  int64_t left, right;     // panel numbers; left <= right where the panels are the same
  int first_group, groups; // which groups of `micro_rows` features of the left panel
};

// What of a block there is to compute.
template <class Isa, class T>
struct BlockShape {
  static constexpr int W = panel_width<Isa, T>;
  static constexpr int M = micro_rows<Isa, T>;
  bool diagonal;
  int64_t j_valid, i_first, i_end;  // features of its right panel; those of its left one, from and to
  int first_group, last_group;

  BlockShape(const PanelProduct<T>& p, const GramBlock& block)
      : diagonal(p.left == p.right && block.left == block.right), first_group(block.first_group) {
    const int64_t i_valid = p.left_d - block.left * W < W ? p.left_d - block.left * W : W;
    const int groups_valid = int((i_valid + M - 1) / M);
    j_valid = p.right_d - block.right * W < W ? p.right_d - block.right * W : W;
    last_group = first_group + block.groups < groups_valid ? first_group + block.groups : groups_valid;
    i_first = first_group * M;
    i_end = last_group * M < i_valid ? last_group * M : i_valid;
  }
};

// sums[i][j] = sum over rows `from` ... `to` (at most `flush_rows`) of z_i w_j for the features of one block, [W][W].
template <class Isa, class T>
FEATDIV_INLINE void sum_products(const PanelProduct<T>& p, const GramBlock& block, const BlockShape<Isa, T>& shape,
                                 int64_t from, int64_t to, T* sums) {
  constexpr int L = lanes<Isa, T>;
  constexpr int W = panel_width<Isa, T>;
  constexpr int M = micro_rows<Isa, T>;
  static_assert(W % M == 0, "groups of features must tile the panels");
  const T* left = p.left + block.left * p.panel_stride;
  const T* right = p.right + block.right * p.panel_stride;
  const int vectors = int((shape.j_valid + L - 1) / L);
  memset(sums, 0, sizeof(T) * W * W);
  // Chain by chain: the share of both panels and the sums stay in the first-level cache for all groups.
  for (int64_t k = from; k < to; k += product_chain) {
    const int depth = int(to - k < product_chain ? to - k : product_chain);
    for (int g = shape.first_group; g < shape.last_group; ++g) {
      // On the diagonal, vectors wholly below it are skipped.
      const int skip = shape.diagonal ? g * M / L : 0;
      const T* a = left + k * W + g * M;
      const T* b = right + k * W + skip * L;
      T* c = sums + g * M * W + skip * L;
      const uintptr_t ahead = next_chain<Isa, T>(left + k * W, right + k * W, g, product_chain);
      if (vectors - skip == 3) micro_kernel<Isa, T, 3>(a, b, W, depth, c, W, ahead);
      else if (vectors - skip == 2) micro_kernel<Isa, T, 2>(a, b, W, depth, c, W, ahead);
      else micro_kernel<Isa, T, 1>(a, b, W, depth, c, W, ahead);
    }
  }
}

// Adds the sums of one block to a matrix of float64 whose first row and column are those of the block.
template <class Isa, class T>
FEATDIV_INLINE void add_sums(const BlockShape<Isa, T>& shape, const T* sums, double* out, int64_t stride) {
  for (int64_t i = shape.i_first; i < shape.i_end; ++i)
    for (int64_t j = shape.diagonal ? i : 0; j < shape.j_valid; ++j)
      out[i * stride + j] += double(sums[i * panel_width<Isa, T> + j]);
}

// gram[i][j] += sum over the n rows of z_i w_j for the features of one block.
template <class Isa, class T>
void gram_block(const PanelProduct<T>& p, const GramBlock& block) {
  constexpr int W = panel_width<Isa, T>;
  const BlockShape<Isa, T> shape(p, block);
  alignas(64) T sums[W * W];
  for (int64_t first = 0; first < p.n; first += flush_rows) {
    sum_products<Isa, T>(p, block, shape, first, first + flush_rows < p.n ? first + flush_rows : p.n, sums);
    add_sums<Isa, T>(shape, sums, p.gram + block.left * W * p.right_d + block.right * W, p.right_d);
  }
}

// The part of a scatter about the mean that is one block of the product of panels with themselves, where these hold all
// rows: sums that nothing is added to need no room in memory.
template <class Isa, class T>
void centred_block(const PanelProduct<T>& p, const GramBlock& given, const Centring& centring) {
  constexpr int W = panel_width<Isa, T>;
  GramBlock block = given;
  // Few features on the right leave registers idle; both triangles are written, so the sides may change places.
  if (block.left < block.right && p.right_d - block.right * W <= lanes<Isa, T> && block.groups * micro_rows<Isa, T> == W)
    block = {given.right, given.left, 0, given.groups};
  const BlockShape<Isa, T> shape(p, block);
  const auto centre = [&](const auto* sums) __attribute__((always_inline)) {
    // Of one on the diagonal, features left of its rows belong to its other groups.
    const int64_t j_first = shape.diagonal ? shape.i_first : 0;
    centre_part<Isa>(centring, part_of_sums(sums + shape.i_first * W + j_first, W, block.left * W + shape.i_first,
                                            block.right * W + j_first, shape.i_end - shape.i_first,
                                            shape.j_valid - j_first));
  };
  alignas(64) T sums[W * W];
  if (p.n <= flush_rows) {
    sum_products<Isa, T>(p, block, shape, 0, p.n, sums);
    return centre(sums);
  }
  alignas(64) double wide[W * W] = {};
  for (int64_t first = 0; first < p.n; first += flush_rows) {
    sum_products<Isa, T>(p, block, shape, first, first + flush_rows < p.n ? first + flush_rows : p.n, sums);
    add_sums<Isa, T>(shape, sums, wide, W);
  }
  centre(wide);
}

}  // namespace featdiv

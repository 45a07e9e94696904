// One block of a product, of panels with themselves or with others, into float64.
#pragma once

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

// gram[i][j] += sum over the n rows of z_i w_j for the features of one block.
template <class Isa, class T>
void gram_block(const PanelProduct<T>& p, const GramBlock& block) {
  constexpr int L = lanes<Isa, T>;
  constexpr int W = panel_width<Isa, T>;
  constexpr int M = micro_rows<Isa, T>;
  static_assert(W % M == 0, "groups of features must tile the panels");
  const bool diagonal = p.left == p.right && block.left == block.right;
  const T* left = p.left + block.left * p.panel_stride;
  const T* right = p.right + block.right * p.panel_stride;
  const int64_t i_valid = p.left_d - block.left * W < W ? p.left_d - block.left * W : W;
  const int64_t j_valid = p.right_d - block.right * W < W ? p.right_d - block.right * W : W;
  const int vectors = int((j_valid + L - 1) / L);
  const int groups_valid = int((i_valid + M - 1) / M);
  const int last_group =
      block.first_group + block.groups < groups_valid ? block.first_group + block.groups : groups_valid;
  alignas(64) T sums[W * W];
  for (int64_t flush = 0; flush < p.n; flush += flush_rows) {
    const int64_t flush_end = flush + flush_rows < p.n ? flush + flush_rows : p.n;
    memset(sums, 0, sizeof sums);
    // Chain by chain: the share of both panels and the sums stay in the first-level cache for all groups.
    for (int64_t k = flush; k < flush_end; k += product_chain) {
      const int depth = int(flush_end - k < product_chain ? flush_end - k : product_chain);
      for (int g = block.first_group; g < last_group; ++g) {
        // On the diagonal, vectors wholly below it are skipped.
        const int skip = diagonal ? g * M / L : 0;
        const T* a = left + k * W + g * M;
        const T* b = right + k * W + skip * L;
        T* c = sums + g * M * W + skip * L;
        const uintptr_t ahead = next_chain<Isa, T>(left + k * W, right + k * W, g, product_chain);
        if (vectors - skip == 3) micro_kernel<Isa, T, 3>(a, b, W, depth, c, W, ahead);
        else if (vectors - skip == 2) micro_kernel<Isa, T, 2>(a, b, W, depth, c, W, ahead);
        else micro_kernel<Isa, T, 1>(a, b, W, depth, c, W, ahead);
      }
    }
    const int64_t i_end = last_group * M < i_valid ? last_group * M : i_valid;
    for (int64_t i = block.first_group * M; i < i_end; ++i) {
      double* out = p.gram + (block.left * W + i) * p.right_d + block.right * W;
      for (int64_t j = diagonal ? i : 0; j < j_valid; ++j) out[j] += double(sums[i * W + j]);
    }
  }
}

}  // namespace featdiv

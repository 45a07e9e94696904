// One block of the product of two different sets of features over the same rows, and the sums weighted by norms.
#pragma once

#include "gram.h"

namespace featdiv {

// Groups of `micro_rows` features of a left panel, against a right panel.
struct CrossBlock {
  int64_t left, right;
  int first_group, groups;
};

// gram[i][j] += sum over the n rows of z_i w_j for the features of one block. Both sets lie in panels whose distance
// is `panel_stride`; gram is (left_d, right_d), row-major. Sums are chained as in `gram_block`.
template <class Isa, class T>
void cross_block(const T* left_panels, const T* right_panels, int64_t panel_stride, int64_t n, int64_t left_d,
                 int64_t right_d, const CrossBlock& block, double* gram) {
  constexpr int L = lanes<Isa, T>;
  constexpr int W = panel_width<Isa, T>;
  constexpr int M = micro_rows<Isa, T>;
  const T* left = left_panels + block.left * panel_stride;
  const T* right = right_panels + block.right * panel_stride;
  const int64_t i_valid = left_d - block.left * W < W ? left_d - block.left * W : W;
  const int64_t j_valid = right_d - block.right * W < W ? right_d - block.right * W : W;
  const int vectors = int((j_valid + L - 1) / L);
  const int groups_valid = int((i_valid + M - 1) / M);
  const int last_group =
      block.first_group + block.groups < groups_valid ? block.first_group + block.groups : groups_valid;
  alignas(64) T sums[W * W];
  for (int64_t flush = 0; flush < n; flush += flush_rows) {
    const int64_t flush_end = flush + flush_rows < n ? flush + flush_rows : n;
    memset(sums, 0, sizeof sums);
    for (int64_t k = flush; k < flush_end; k += product_chain) {
      const int depth = int(flush_end - k < product_chain ? flush_end - k : product_chain);
      for (int g = block.first_group; g < last_group; ++g) {
        const T* a = left + k * W + g * M;
        const T* b = right + k * W;
        T* c = sums + g * M * W;
        const uintptr_t ahead = next_chain<Isa, T>(left + k * W, right + k * W, g, product_chain);
        if (vectors == 3) micro_kernel<Isa, T, 3>(a, b, W, depth, c, W, ahead);
        else if (vectors == 2) micro_kernel<Isa, T, 2>(a, b, W, depth, c, W, ahead);
        else micro_kernel<Isa, T, 1>(a, b, W, depth, c, W, ahead);
      }
    }
    const int64_t i_end = last_group * M < i_valid ? last_group * M : i_valid;
    for (int64_t i = block.first_group * M; i < i_end; ++i) {
      double* out = gram + (block.left * W + i) * right_d + block.right * W;
      for (int64_t j = 0; j < j_valid; ++j) out[j] += double(sums[i * W + j]);
    }
  }
}

// Packed rows of one set of features, and what is weighted by the norms of the other.
template <class T>
struct WeighedSide {
  const T* panels;
  int64_t d;
  double* weighted;  // [panels W] += sum of the rows times the squared norm of the same row of the other side
};

template <class Isa, class T, class F>
FEATDIV_INLINE void for_each_vector(const WeighedSide<T>& side, int64_t panel_stride, int64_t row, F&& f) {
  constexpr int W = panel_width<Isa, T>;
  constexpr int D = lanes<Isa, double>;
  for (int64_t first = 0; first < side.d; first += W) {
    const T* z = side.panels + first / W * panel_stride + row * W;
    const int64_t valid = side.d - first < W ? (side.d - first + D - 1) / D * D : W;
    for (int64_t j = 0; j < valid; j += D) {
      const Vec<T, D> narrow = load<Vec<T, D>>(z + j);
      f(__builtin_convertvector(narrow, Vec<double, D>), first + j);
    }
  }
}

// Adds sum |w|^2 z and sum |z|^2 w to the sides, and sum |z|^2 |w|^2 to `fourth`, over n packed rows, in float64.
template <class Isa, class T>
void cross_weigh_block(const WeighedSide<T>& left, const WeighedSide<T>& right, int64_t panel_stride, int64_t n,
                       double* fourth) {
  constexpr int D = lanes<Isa, double>;
  using VD = Vec<double, D>;
  for (int64_t r = 0; r < n; ++r) {
    const auto square = [&](const WeighedSide<T>& side) __attribute__((always_inline)) {
      VD sum = {};
      for_each_vector<Isa>(side, panel_stride, r, [&](VD x, int64_t) __attribute__((always_inline)) { sum += x * x; });
      double total = 0;
      for (int i = 0; i < D; ++i) total += sum[i];
      return total;
    };
    const double left_square = square(left), right_square = square(right);
    *fourth += left_square * right_square;
    const auto weigh = [&](const WeighedSide<T>& side, double weight) __attribute__((always_inline)) {
      for_each_vector<Isa>(side, panel_stride, r, [&](VD x, int64_t j) __attribute__((always_inline)) {
        store(side.weighted + j, load<VD>(side.weighted + j) + x * weight);
      });
    };
    weigh(left, right_square);
    weigh(right, left_square);
  }
}

}  // namespace featdiv

// Sums over the rows of two sets of features, each weighted by the norms of the other.
#pragma once

#include "vec.h"

namespace featdiv {

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

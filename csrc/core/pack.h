// Packing: rows of any element type become panels of working precision, with the checks and column sums done on the
// way, while the rows are in registers anyway.
#pragma once

#include "element.h"

namespace featdiv {

// Rows summed in the working precision before they are added to a float64 sum: columns of one sign and magnitude
// round the same way at every addition, so a long chain would drift.
constexpr int sum_chain = 8;
// Rows that an index chooses are fetched ahead of their turn, since no pattern of addresses tells the processor of them.
constexpr int rows_ahead = 4;

// A block of rows to pack. Panel p holds features [p W, (p + 1) W) of every row of its tile, W = panel_width; row k
// of a panel is W consecutive values. Features past d are zero.
template <class T>
struct PackBlock {
  const char* rows;         // first row, or row 0 of those that `index` chooses from
  const int64_t* index;     // [n] rows to take; null for consecutive ones
  int64_t row_stride;       // bytes from row to row
  int64_t n;                // rows in the block
  int64_t d;                // features
  Element element;
  T* panels;                // where the block's first row goes in panel 0
  int64_t panel_stride;     // values from panel to panel
  bool wide;                // convert through double: normalise, shift and scale before rounding to T
  const double* shift;      // [panels W]; null for none
  const double* scale;      // [panels W]; null for none
  const float* shift32;     // the same, where exact in float32 and not wide
  const float* scale32;
  const double* inverse_norm;  // [n] (wide only); null for none
  double* total;            // [panels W] out: column sums of the packed values
  T* peak;                  // [panels W] out: largest magnitude of each column; not zero where rounding to T made it so
};

template <class Isa, class T, class Src, int NV, bool Wide>
FEATDIV_INLINE bool pack_panel(const PackBlock<T>& b, int64_t first, int64_t valid) {
  constexpr int L = lanes<Isa, T>;
  constexpr int W = panel_width<Isa, T>;
  constexpr int D = lanes<Isa, double>;
  using V = Vec<T, L>;
  using VD = Vec<double, D>;
  const bool partial = valid < NV * L;
  alignas(64) char staged[NV * L * sizeof(Src)] = {};
  T* out = b.panels + first / W * b.panel_stride;
  const char* rows = b.rows + first * int64_t(sizeof(Src));
  V peak[NV] = {};
  VD wide_peak[Wide ? NV * L / D : 1] = {};
  V zero_if_finite[NV] = {};
  VD wide_zero_if_finite = {};
  for (int64_t start = 0; start < b.n; start += sum_chain) {
    const int64_t stop = start + sum_chain < b.n ? start + sum_chain : b.n;
    V sum[NV] = {};
    for (int64_t r = start; r < stop; ++r, out += W) {
      const char* row = rows + (b.index ? b.index[r] : r) * b.row_stride;
      const char* source = row;
      if (b.index) {
        const char* ahead = rows + b.index[r + rows_ahead < b.n ? r + rows_ahead : r] * b.row_stride;
        for (int line = 0; line < NV * L * int(sizeof(Src)); line += 64) __builtin_prefetch(ahead + line);
      }
      if (partial) {
        memcpy(staged, row, size_t(valid) * sizeof(Src));
        source = staged;
      } else {
        __builtin_prefetch(row + NV * L * sizeof(Src), 0, 2);
        if (NV * L * sizeof(Src) > 64) __builtin_prefetch(row + NV * L * sizeof(Src) + 64, 0, 2);
        if (NV * L * sizeof(Src) > 128) __builtin_prefetch(row + NV * L * sizeof(Src) + 128, 0, 2);
      }
#pragma GCC unroll 3
      for (int v = 0; v < NV; ++v) {
        V z;
        if constexpr (Wide) {
#pragma GCC unroll 4
          for (int h = 0; h < L; h += D) {
            VD x = widen<double, D, Src>(source + (v * L + h) * int(sizeof(Src)));
            wide_zero_if_finite += x * 0.0;
            if (b.inverse_norm) x *= b.inverse_norm[r];
            if (b.shift) x -= load<VD>(b.shift + first + v * L + h);
            if (b.scale) x *= load<VD>(b.scale + first + v * L + h);
            store(out + v * L + h, __builtin_convertvector(x, Vec<T, D>));
            const VD size = magnitude<D>(x);
            VD& largest = wide_peak[(v * L + h) / D];
            largest = size > largest ? size : largest;
          }
          z = load<V>(out + v * L);
        } else {
          z = widen<T, L, Src>(source + v * L * int(sizeof(Src)));
          zero_if_finite[v] += z * T(0);
          if (b.shift32) z -= load<V>(b.shift32 + first + v * L);
          if (b.scale32) z *= load<V>(b.scale32 + first + v * L);
          store(out + v * L, z);
        }
        sum[v] += z;
        if constexpr (!Wide) {
          const V size = magnitude<L>(z);
          peak[v] = size > peak[v] ? size : peak[v];
        }
      }
    }
    for (int v = 0; v < NV; ++v) {
#pragma GCC unroll 4
      for (int h = 0; h < L; h += D) {
        Vec<T, D> part;
        memcpy(&part, reinterpret_cast<const T*>(&sum[v]) + h, sizeof part);
        double* total = b.total + first + v * L + h;
        store(total, load<VD>(total) + __builtin_convertvector(part, VD));
      }
    }
  }
  for (int v = 0; v < NV; ++v) {
    if constexpr (Wide) {
      constexpr T least = sizeof(T) == sizeof(float) ? T(0x1p-149) : T(0);
#pragma GCC unroll 4
      for (int h = 0; h < L; h += D) {
        const VD largest = wide_peak[(v * L + h) / D];
        const Vec<T, D> rounded = __builtin_convertvector(largest, Vec<T, D>);
        T* const to = b.peak + first + v * L + h;
        store(to, rounded);
        for (int i = 0; i < D; ++i)
          if (rounded[i] == 0 && largest[i] > 0) to[i] = least;
      }
    } else {
      store(b.peak + first + v * L, peak[v]);
    }
  }
  T check = 0;
  for (int v = 0; v < NV; ++v)
    for (int i = 0; i < L; ++i) check += zero_if_finite[v][i];
  double wide_check = 0;
  for (int i = 0; i < D; ++i) wide_check += wide_zero_if_finite[i];
  return check == 0 && wide_check == 0;
}

// Packs a block; returns false if a raw value was NaN or infinite.
template <class Isa, class T>
bool pack_block(const PackBlock<T>& b) {
  constexpr int L = lanes<Isa, T>;
  constexpr int W = panel_width<Isa, T>;
  bool finite = true;
  memset(b.total, 0, size_t((b.d + W - 1) / W * W) * sizeof(double));
  with_element(b.element, [&](auto source) __attribute__((always_inline)) {
    using Src = decltype(source);
    constexpr bool narrow = __is_same(T, float) && sizeof(Src) <= 4 && !__is_same(Src, int32_t) && !__is_same(Src, uint32_t);
    for (int64_t first = 0; first < b.d; first += W) {
      const int64_t valid = b.d - first < W ? b.d - first : W;
      const int vectors = int((valid + L - 1) / L);
      auto pack = [&](auto wide) __attribute__((always_inline)) {
        if (vectors == 3) return pack_panel<Isa, T, Src, 3, wide.value>(b, first, valid);
        if (vectors == 2) return pack_panel<Isa, T, Src, 2, wide.value>(b, first, valid);
        return pack_panel<Isa, T, Src, 1, wide.value>(b, first, valid);
      };
      if constexpr (narrow) {
        if (!b.wide) {
          finite &= pack(Constant<false>{});
          continue;
        }
      }
      finite &= pack(Constant<true>{});
    }
  });
  return finite;
}

// Sum of squares of each of n rows (consecutive, or those of `index`), in float64; returns false if one overflowed,
// underflowed or was not finite.
template <class Isa>
bool square_norms(const char* rows, const int64_t* index, int64_t row_stride, int64_t n, int64_t d, Element element,
                  double* out) {
  constexpr int D = lanes<Isa, double>;
  using VD = Vec<double, D>;
  bool normal = true;
  with_element(element, [&](auto source) __attribute__((always_inline)) {
    using Src = decltype(source);
    for (int64_t r = 0; r < n; ++r) {
      const char* p = rows + (index ? index[r] : r) * row_stride;
      VD sum[2] = {};
      int64_t j = 0;
      for (; j + 2 * D <= d; j += 2 * D) {
        const VD x = widen<double, D, Src>(p + j * int64_t(sizeof(Src)));
        const VD y = widen<double, D, Src>(p + (j + D) * int64_t(sizeof(Src)));
        sum[0] += x * x;
        sum[1] += y * y;
      }
      for (; j < d; j += D) {
        alignas(64) char staged[D * sizeof(Src)] = {};
        memcpy(staged, p + j * int64_t(sizeof(Src)), size_t(d - j < D ? d - j : D) * sizeof(Src));
        const VD x = widen<double, D, Src>(staged);
        sum[0] += x * x;
      }
      sum[0] += sum[1];
      double square = 0;
      for (int i = 0; i < D; ++i) square += sum[0][i];
      normal &= square > 0x1p-900 && square < 0x1p900;
      out[r] = square;
    }
  });
  return normal;
}

// Adds sum |z|^2 z to `weighted` [panels W] and sum |z|^4 to `fourth` over n packed rows, in float64.
template <class Isa, class T>
void weigh_block(const T* panels, int64_t panel_stride, int64_t n, int64_t d, double* weighted, double* fourth) {
  constexpr int W = panel_width<Isa, T>;
  constexpr int D = lanes<Isa, double>;
  using VD = Vec<double, D>;
  for (int64_t r = 0; r < n; ++r) {
    VD square = {};
    for (int64_t first = 0; first < d; first += W) {
      const T* z = panels + first / W * panel_stride + r * W;
      const int64_t valid = d - first < W ? (d - first + D - 1) / D * D : W;
      for (int64_t j = 0; j < valid; j += D) {
        const VD x = __builtin_convertvector((load<Vec<T, D>>(z + j)), VD);
        square += x * x;
      }
    }
    double k = 0;
    for (int i = 0; i < D; ++i) k += square[i];
    *fourth += k * k;
    for (int64_t first = 0; first < d; first += W) {
      const T* z = panels + first / W * panel_stride + r * W;
      const int64_t valid = d - first < W ? (d - first + D - 1) / D * D : W;
      for (int64_t j = 0; j < valid; j += D) {
        double* out = weighted + first + j;
        store(out, load<VD>(out) + __builtin_convertvector((load<Vec<T, D>>(z + j)), VD) * k);
      }
    }
  }
}

}  // namespace featdiv

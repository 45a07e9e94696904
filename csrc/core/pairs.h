// One block of pairs of rows: their products, and what is summed, counted or kept of them, while in cache.
#pragma once

#include "element.h"
#include "micro.h"

namespace featdiv {

// Features in one chain of fused multiply-adds.
constexpr int pair_chain = 32;
// Rows whose exponentials are added in the working precision before they go to a float64 sum.
constexpr int exp_rows = 8;

enum class Measure : int { none, cosine, distance };

// A squared distance below this share of |x|^2 + |y|^2 has lost too many digits for its root to be added.
constexpr double near_share = 0x1p-10;

// Values of `bin` that are no bins.
constexpr int32_t bin_unsure = -1, bin_no_pair = -2;

// Panels hold W rows feature by feature: d times W consecutive values, zero past the valid rows.
template <class T>
struct PairBlock {
  const T* left;
  const T* right;
  int64_t d;
  const T* left_squares;  // [W] squared norms
  const T* right_squares;
  int left_valid, right_valid;
  bool triangle;  // the panels are the same one: only pairs with right row > left row count
  const double* rates;  // t of exp(-t |x - y|^2)
  int rate_count;
  double* exp_sums;  // [rate_count] += over the pairs
  double* distance_sum;  // += over the pairs that are not near; null where it is not wanted
  int32_t* near;         // [W W] out: cells of the near pairs
  int near_count;        // out
  Measure measure;
  T rounding;      // bound on the relative rounding of a product of two rows against their norms
  T* values;       // [W W] out: the measure of each pair
  T* errors;       // [W W] out: bound on its rounding
  T sign;          // times the measure: what is larger is nearer
  bool has_threshold;
  T wanted;        // sign times the threshold
  T most;          // out: nearness of the nearest pair; minus infinity without pairs
  bool candidates; // out: whether the rounding of some pair leaves it on the near side of the threshold
  int bins;        // 0 for no histogram
  T low, per_unit; // bin number is (value - low) per_unit
  bool open_low, open_high;  // values past the first or last edge by rounding alone belong inside
  int32_t* bin;    // [W W] out: 0 below the first edge, 1 ... bins, bins + 1 above; or one of the above
};

// exp(x) for x up to a little above 0, to about one unit in the last place; zero below -87.
template <int N>
FEATDIV_INLINE Vec<float, N> exp_negative(Vec<float, N> x) {
  using V = Vec<float, N>;
  using U = Vec<uint32_t, N>;
  const auto lost = x < -87.0f;
  x = lost ? V{} : x;
  constexpr float to_integer = 12582912.0f;  // 1.5 2^23: adding it rounds to the nearest integer
  const V shifted = x * 1.44269504f + to_integer;
  const V n = shifted - to_integer;
  const V r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  V p = r * (1.0f / 720) + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const U power = ((U)shifted << 23) + (127u << 23);
  // The low bits of `shifted` are n; its exponent bits leave through the top of the shift.
  return lost ? V{} : p * (V)power;
}

template <int N>
FEATDIV_INLINE Vec<double, N> exp_negative(Vec<double, N> x) {
  for (int i = 0; i < N; ++i) x[i] = __builtin_exp(x[i]);
  return x;
}

template <int N, class T>
FEATDIV_INLINE Vec<T, N> square_root(Vec<T, N> x) {
  for (int i = 0; i < N; ++i) x[i] = __is_same(T, float) ? T(__builtin_sqrtf(float(x[i]))) : T(__builtin_sqrt(x[i]));
  return x;
}

template <class Isa, class T>
FEATDIV_INLINE void pair_products(const PairBlock<T>& b, T* products) {
  constexpr int W = panel_width<Isa, T>;
  constexpr int M = micro_rows<Isa, T>;
  memset(products, 0, sizeof(T) * W * W);
  for (int64_t k = 0; k < b.d; k += pair_chain) {
    const int depth = int(b.d - k < pair_chain ? b.d - k : pair_chain);
    const T* left = b.left + k * W;
    const T* right = b.right + k * W;
    for (int g = 0; g * M < b.left_valid; ++g) {
      const uintptr_t ahead = next_chain<Isa, T>(left, right, g, pair_chain);
      micro_kernel<Isa, T, 3>(left + g * M, right, W, depth, products + g * M * W, W, ahead);
    }
  }
}

// Adds the distances of pairs, and lists the near ones, which are to be computed from the rows.
template <class Isa, class T>
FEATDIV_INLINE void add_distances(PairBlock<T>& b, const T* products) {
  constexpr int L = lanes<Isa, T>;
  constexpr int W = panel_width<Isa, T>;
  constexpr int D = lanes<Isa, double>;
  using V = Vec<T, L>;
  using VD = Vec<double, D>;
  VD sum = {};
  b.near_count = 0;
  for (int i = 0; i < b.left_valid; ++i) {
    V row = {}, flagged = {};
    for (int v = 0; v < 3; ++v) {
      V column;
      for (int j = 0; j < L; ++j) column[j] = T(v * L + j);
      const V squares = load<V>(b.right_squares + v * L) + b.left_squares[i];
      const V q = squares - T(2) * load<V>(products + i * W + v * L);
      const auto counts = (column < T(b.right_valid)) & (column > T(b.triangle ? i : -1));
      const auto near = (q <= squares * T(near_share)) & (squares > T(0));
      row += counts ? square_root<L, T>(near ? V{} : q) : V{};
      flagged += counts & near ? V{} + T(1) : V{};
    }
    for (int h = 0; h < L; h += D) {
      Vec<T, D> piece;
      memcpy(&piece, reinterpret_cast<const T*>(&row) + h, sizeof piece);
      sum += __builtin_convertvector(piece, VD);
    }
    T any = 0;
    for (int j = 0; j < L; ++j) any += flagged[j];
    if (any == T(0)) continue;
    for (int j = b.triangle ? i + 1 : 0; j < b.right_valid; ++j) {
      const T squares = b.right_squares[j] + b.left_squares[i];
      if (squares - T(2) * products[i * W + j] <= squares * T(near_share)) b.near[b.near_count++] = i * W + j;
    }
  }
  for (int i = 0; i < D; ++i) *b.distance_sum += sum[i];
}

// Adds the exponentials of the pairs.
template <class Isa, class T>
FEATDIV_INLINE void add_exponentials(const PairBlock<T>& b, const T* products) {
  constexpr int L = lanes<Isa, T>;
  constexpr int W = panel_width<Isa, T>;
  constexpr int D = lanes<Isa, double>;
  using V = Vec<T, L>;
  using VD = Vec<double, D>;
  V column[3];
  for (int v = 0; v < 3; ++v)
    for (int i = 0; i < L; ++i) column[v][i] = T(v * L + i);
  for (int rate = 0; rate < b.rate_count; ++rate) {
    const T t = T(b.rates[rate]);
    VD sum = {};
    for (int start = 0; start < b.left_valid; start += exp_rows) {
      const int stop = start + exp_rows < b.left_valid ? start + exp_rows : b.left_valid;
      V part = {};
      for (int i = start; i < stop; ++i) {
        const T square = b.left_squares[i];
        V row = {};
        for (int v = 0; v < 3; ++v) {
          V q = load<V>(b.right_squares + v * L) + square - T(2) * load<V>(products + i * W + v * L);
          q = q > T(0) ? q : V{};
          const V e = exp_negative<L>(-t * q);
          const auto counts = (column[v] < T(b.right_valid)) & (column[v] > T(b.triangle ? i : -1));
          row += counts ? e : V{};
        }
        part += row;
      }
      for (int h = 0; h < L; h += D) {
        Vec<T, D> piece;
        memcpy(&piece, reinterpret_cast<const T*>(&part) + h, sizeof piece);
        sum += __builtin_convertvector(piece, VD);
      }
    }
    for (int i = 0; i < D; ++i) b.exp_sums[rate] += sum[i];
  }
}

template <class Isa, class T>
void pair_block(PairBlock<T>& b) {
  constexpr int L = lanes<Isa, T>;
  constexpr int W = panel_width<Isa, T>;
  using V = Vec<T, L>;
  using I = Vec<int32_t, L>;
  alignas(64) T products[W * W];
  pair_products<Isa, T>(b, products);
  add_exponentials<Isa, T>(b, products);
  if (b.distance_sum) add_distances<Isa, T>(b, products);
  if (b.measure == Measure::none) return;
  V column[3];
  for (int v = 0; v < 3; ++v)
    for (int i = 0; i < L; ++i) column[v][i] = T(v * L + i);
  constexpr T infinity = __is_same(T, float) ? T(__builtin_inff()) : T(__builtin_inf());
  // Rounding of the edges, of the difference and of its product with `per_unit`; of the threshold, and of a sum.
  constexpr T ulps = __is_same(T, float) ? T(0x1p-22) : T(0x1p-51);
  const T reach = b.wanted - (b.wanted < 0 ? -b.wanted : b.wanted) * 2 * ulps;
  V most = V{} - infinity, beyond = V{} - infinity;
  for (int i = 0; i < b.left_valid; ++i) {
    for (int v = 0; v < 3; ++v) {
      const auto counts = (column[v] < T(b.right_valid)) & (column[v] > T(b.triangle ? i : -1));
      V value = load<V>(products + i * W + v * L);
      V error = V{} + b.rounding;
      if (b.measure == Measure::distance) {
        const V squares = load<V>(b.right_squares + v * L) + b.left_squares[i];
        V q = squares - T(2) * value;
        q = q > T(0) ? q : V{};
        value = square_root<L, T>(q);
        // |sqrt(q + e) - sqrt(q)| <= min(e / sqrt(q), sqrt(e)), with e the rounding of q.
        const V e = squares * b.rounding;
        const V root = square_root<L, T>(e);
        error = value > root ? e / value : root;
      }
      store(b.values + i * W + v * L, value);
      store(b.errors + i * W + v * L, error);
      const V nearness = counts ? value * b.sign : V{} - infinity;
      most = nearness > most ? nearness : most;
      beyond = nearness + error > beyond ? nearness + error : beyond;
      if (!b.bins) continue;
      const V x = (value - b.low) * b.per_unit;
      const V rounded = (magnitude<L>(value) + (b.low < 0 ? -b.low : b.low)) * ulps;
      const V slack = (error + rounded) * b.per_unit + magnitude<L>(x) * ulps;
      const T last = T(b.bins);
      const V bounded = x < T(-0.5) ? V{} - T(0.5) : (x > last + T(0.5) ? V{} + (last + T(0.5)) : x);
      const I whole = __builtin_convertvector(bounded + T(1), I);  // bounded + 1 >= 0: truncation is the floor
      V edge = __builtin_convertvector(__builtin_convertvector(bounded + T(0.5), I), V);
      // The nearest of the edges that divide values from values.
      const T first_edge = b.open_low ? T(1) : T(0), last_edge = b.open_high ? last - T(1) : last;
      edge = edge < first_edge ? V{} + first_edge : (edge > last_edge ? V{} + last_edge : edge);
      const auto unsure = (magnitude<L>(x - edge) <= slack) & (V{} + first_edge <= last_edge);
      V number = __builtin_convertvector(whole, V);
      if (b.open_low) number = number < T(1) ? V{} + T(1) : number;
      if (b.open_high) number = number > last ? V{} + last : number;
      number = unsure ? V{} + T(bin_unsure) : number;
      number = counts ? number : V{} + T(bin_no_pair);
      store(b.bin + i * W + v * L, __builtin_convertvector(number, I));
    }
  }
  b.most = -infinity;
  b.candidates = false;
  for (int j = 0; j < L; ++j) {
    b.most = most[j] > b.most ? most[j] : b.most;
    b.candidates |= b.has_threshold && beyond[j] >= reach;
  }
}

// Inner product or distance of two rows in float64; `a_scale` and `b_scale` multiply the rows first.
template <class Isa, class Src>
FEATDIV_INLINE double measured(const char* a, const char* b, int64_t d, double a_scale, double b_scale,
                               Measure measure) {
  constexpr int D = lanes<Isa, double>;
  using VD = Vec<double, D>;
  VD sums[2] = {};
  const auto add = [&](const char* left, const char* right, VD& sum) __attribute__((always_inline)) {
    const VD x = widen<double, D, Src>(left) * a_scale;
    const VD y = widen<double, D, Src>(right) * b_scale;
    sum += measure == Measure::distance ? (x - y) * (x - y) : x * y;
  };
  int64_t j = 0;
  for (; j + 2 * D <= d; j += 2 * D)
    for (int half = 0; half < 2; ++half) {
      const int64_t at = (j + half * D) * int64_t(sizeof(Src));
      add(a + at, b + at, sums[half]);
    }
  for (; j < d; j += D) {
    alignas(64) char staged[2][D * sizeof(Src)] = {};
    const size_t bytes = size_t(d - j < D ? d - j : D) * sizeof(Src);
    memcpy(staged[0], a + j * int64_t(sizeof(Src)), bytes);
    memcpy(staged[1], b + j * int64_t(sizeof(Src)), bytes);
    add(staged[0], staged[1], sums[0]);
  }
  double result = 0;
  for (int i = 0; i < D; ++i) result += sums[0][i] + sums[1][i];
  return measure == Measure::distance ? __builtin_sqrt(result) : result;
}

template <class Isa>
double exact_measure(const char* a, const char* b, int64_t d, Element element, double a_scale, double b_scale,
                     Measure measure) {
  double result = 0;
  with_element(element, [&](auto source) __attribute__((always_inline)) {
    result = measured<Isa, decltype(source)>(a, b, d, a_scale, b_scale, measure);
  });
  return result;
}

// The measures of one row and `count` others, which lie anywhere.
template <class Isa>
void exact_measures(const char* row, const char* const* others, int64_t count, int64_t d, Element element,
                    Measure measure, double* out) {
  with_element(element, [&](auto source) __attribute__((always_inline)) {
    using Src = decltype(source);
    for (int64_t i = 0; i < count; ++i) {
      if (i + 2 < count)
        for (int64_t at = 0; at < d * int64_t(sizeof(Src)); at += 64) __builtin_prefetch(others[i + 2] + at);
      out[i] = measured<Isa, Src>(row, others[i], d, 1.0, 1.0, measure);
    }
  });
}

}  // namespace featdiv

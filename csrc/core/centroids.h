// The nearest centroid of each query of an episode: rows are read where they lie, and never gathered.
#pragma once

#include "element.h"

namespace featdiv {

// One episode: `shots` support rows and some queries of each of several classes, by their place among the rows.
struct EpisodeBlock {
  const char* rows;
  int64_t row_stride;  // bytes
  int64_t d;
  Element element;
  const int64_t* index;  // [ways taken]: of each class the support rows, then the queries
  int ways, shots;
  int64_t taken;
  float* centroids;  // scratch [ways + 2, padded d]
  float* levels;     // scratch [ways]
  int64_t* nearest;  // [ways taken - shots] out: the class of the nearest centroid; -1 if a distance is not finite
};

// Centroids whose products with a row are in registers at once.
constexpr int centroids_at_once = 8;

// Calls f(j, vector) for the row's entries from j on, L at a time; past d they are zero.
template <int L, class F>
FEATDIV_INLINE void each_vector(const char* row, int64_t d, Element element, F&& f) {
  with_element(element, [&](auto source) __attribute__((always_inline)) {
    using Src = decltype(source);
    constexpr int64_t size = sizeof(Src);
    int64_t j = 0;
    for (; j + L <= d; j += L) f(j, widen<float, L, Src>(row + j * size));
    if (j < d) {
      alignas(64) char staged[L * size] = {};
      memcpy(staged, row + j * size, size_t((d - j) * size));
      f(j, widen<float, L, Src>(staged));
    }
  });
}

template <int L>
FEATDIV_INLINE float sum_of(Vec<float, L> v) {
  float sum = 0;
  for (int i = 0; i < L; ++i) sum += v[i];
  return sum;
}

// Products of a row with G centroids that follow one another.
template <int L, int G>
FEATDIV_INLINE void products(const float* row, const float* centroids, int64_t padded, float* out) {
  using V = Vec<float, L>;
  V sums[G] = {};
  for (int64_t j = 0; j < padded; j += L) {
    const V x = load<V>(row + j);
#pragma GCC unroll 8
    for (int g = 0; g < G; ++g) sums[g] += x * load<V>(centroids + g * padded + j);
  }
  for (int g = 0; g < G; ++g) out[g] = sum_of<L>(sums[g]);
}

template <int L, int G = centroids_at_once>
FEATDIV_INLINE void products_of(int count, const float* row, const float* centroids, int64_t padded, float* out) {
  if constexpr (G > 1) {
    if (count < G) return products_of<L, G - 1>(count, row, centroids, padded, out);
  }
  products<L, G>(row, centroids, padded, out);
}

FEATDIV_INLINE void prefetch_row(const char* row, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += 64) __builtin_prefetch(row + at, 0, 3);
}

template <class Isa>
void nearest_centroids(const EpisodeBlock& b) {
  constexpr int L = lanes<Isa, float>;
  using V = Vec<float, L>;
  const int64_t padded = (b.d + L - 1) / L * L, bytes = b.d * element_size[int(b.element)];
  float* mean = b.centroids + b.ways * padded;
  float* row = mean + padded;
  auto at = [&](int64_t place) { return b.rows + b.index[place] * b.row_stride; };
  memset(b.centroids, 0, size_t((b.ways + 1) * padded) * sizeof(float));
  for (int w = 0; w < b.ways; ++w) {
    float* centroid = b.centroids + w * padded;
    for (int s = 0; s < b.shots; ++s) {
      if (s + 1 < b.taken) prefetch_row(at(w * b.taken + s + 1), bytes);
      each_vector<L>(at(w * b.taken + s), b.d, b.element,
                     [&](int64_t j, V x) __attribute__((always_inline)) { store(centroid + j, load<V>(centroid + j) + x); });
    }
    for (int64_t j = 0; j < padded; j += L) {
      const V c = load<V>(centroid + j) / float(b.shots);
      store(centroid + j, c);
      store(mean + j, load<V>(mean + j) + c / float(b.ways));
    }
  }
  // Distances do not change with a common offset, but float32 products would drown in a large one.
  for (int w = 0; w < b.ways; ++w) {
    float* centroid = b.centroids + w * padded;
    V square = {};
    for (int64_t j = 0; j < padded; j += L) {
      const V c = load<V>(centroid + j) - load<V>(mean + j);
      store(centroid + j, c);
      square += c * c;
    }
    b.levels[w] = 0.5f * sum_of<L>(square);
  }
  const int64_t queries = b.taken - b.shots;
  for (int64_t task = 0; task < b.ways * queries; ++task) {
    const int64_t place = task / queries * b.taken + b.shots + task % queries;
    if (task + 1 < b.ways * queries) {
      const int64_t next = (task + 1) / queries * b.taken + b.shots + (task + 1) % queries;
      prefetch_row(at(next), bytes);
    }
    each_vector<L>(at(place), b.d, b.element, [&](int64_t j, V x) __attribute__((always_inline)) {
      store(row + j, x - load<V>(mean + j));
    });
    float best = 0;
    int64_t nearest = -1;
    for (int w = 0; w < b.ways; w += centroids_at_once) {
      float values[centroids_at_once];
      const int count = b.ways - w < centroids_at_once ? b.ways - w : centroids_at_once;
      products_of<L>(count, row, b.centroids + w * padded, padded, values);
      for (int g = 0; g < count; ++g) {
        // Half of |q|^2 - |q - c|^2; a NaN or an infinity stays not finite when it is taken from itself.
        const float value = values[g] - b.levels[w + g];
        if (value - value != 0) {
          nearest = -1;
          w = b.ways;
          break;
        }
        if (nearest < 0 || value > best) {
          best = value;
          nearest = w + g;
        }
      }
    }
    b.nearest[task] = nearest;
  }
}

}  // namespace featdiv

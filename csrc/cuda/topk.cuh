// Candidates for the nearest rows of a gallery: products of a tile are compared with what each query has already.
#include "pair_tiles.cuh"

namespace featdiv {

// The larger, the nearer; of two equal ones, the one of lower index. -0.0 is as near as 0.0.
__device__ __forceinline__ long long nearness_key(float nearness, long long index) {
  const int bits = nearness == 0.0f ? 0 : __float_as_int(nearness);
  const int ordered = bits ^ (bits >> 31 & 0x7fffffff);
  return (long long)((unsigned long long)(unsigned)ordered << 32 | (0xffffffffu - (unsigned)index));
}

template <class Terms>
__device__ __forceinline__ void list_tiles(const void* left, const void* right, long long left_plane,
                                           long long right_plane, int padded, const double* half_squares, int l2,
                                           const float* thresholds, long long* keys, int* counts, int wide,
                                           int capacity, long long rows, long long column_start,
                                           long long column_stop, int panels, int segment) {
  using Tiles = PairTiles<Terms>;
  const long long row = (long long)(blockIdx.x % (unsigned)panels) * Tiles::height;
  const long long first = column_start + (long long)(blockIdx.x / (unsigned)panels) * segment * Tiles::width;
  const long long left_over = (column_stop - first + Tiles::width - 1) / Tiles::width;
  const int tiles = int(left_over < segment ? left_over : segment);
  float threshold[Tiles::m][Tiles::entries / 2];
#pragma unroll
  for (int p = 0; p < Tiles::m; ++p) {
#pragma unroll
    for (int half = 0; half < Tiles::entries / 2; ++half) {
      const long long i = row + Tiles::row_of(p, 2 * half);
      threshold[p][half] = i < rows ? thresholds[i] : 0.0f;
    }
  }
  Tiles::each(left, left_plane, right, right_plane, padded, row, first, tiles, [&](long long column, auto& dots, auto*) {
#pragma unroll
    for (int q = 0; q < Tiles::n; ++q) {
#pragma unroll
      for (int side = 0; side < 2; ++side) {
        const long long j = column + Tiles::column_of(q, side);
        const bool present = j < column_stop;
        const typename Tiles::Sum less = l2 && present ? typename Tiles::Sum(half_squares[j]) : typename Tiles::Sum(0);
#pragma unroll
        for (int p = 0; p < Tiles::m; ++p) {
#pragma unroll
          for (int half = 0; half < Tiles::entries / 2; ++half) {
            const float nearness = float(dots[p][q][2 * half + side] - less);
            const long long i = row + Tiles::row_of(p, 2 * half);
            if (!present || i >= rows || !(nearness > threshold[p][half])) continue;
            const int place = atomicAdd(counts + i, 1);
            if (place < capacity) keys[i * (wide + capacity) + wide + place] = nearness_key(nearness, j);
          }
        }
      }
    }
  });
}

}  // namespace featdiv

// Appends to the list of each query the rows [column_start, column_stop) of the gallery that are nearer than its
// threshold. `keys` is (rows, wide + capacity), of which the first `wide` of a row are not touched; `counts` says how
// much room would be needed. Grid: panels of queries x segments of tiles.
#define FEATDIV_LIST_NEARER(name, terms)                                                                             \
  extern "C" __global__ void __launch_bounds__(featdiv::pair_threads)                                                \
      name(const void* left, const void* right, long long left_plane, long long right_plane, int padded,             \
           const double* half_squares, int l2, const float* thresholds, long long* keys, int* counts, int wide,      \
           int capacity, long long rows, long long column_start, long long column_stop, int panels, int segment) {   \
    featdiv::list_tiles<featdiv::terms>(left, right, left_plane, right_plane, padded, half_squares, l2, thresholds,  \
                                        keys, counts, wide, capacity, rows, column_start, column_stop, panels,       \
                                        segment);                                                                    \
  }

FEATDIV_LIST_NEARER(list_nearer_bfloat16, BFloat16Terms)
FEATDIV_LIST_NEARER(list_nearer_float64, Float64Terms)

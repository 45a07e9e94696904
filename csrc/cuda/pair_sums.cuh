// Reductions over pairs of rows, tile by tile: sums of exponentials and distances, histogram, close pairs, the nearest.
//
// Pairs whose value lies within its rounding of an edge or of the threshold are not counted but listed, and so are those
// too near for the sum of distances: the host computes them again in float64. Sums are taken in a fixed order; counts
// are integers, so that the order in which they arrive changes nothing.
#include "pair_tiles.cuh"

constexpr int pair_rates = 4;     // rates of one launch
constexpr int pair_slots = 1024;  // bins, and one below and above, that a block counts by itself

namespace featdiv {

struct PairSet {
  const void* planes;
  long long plane;
  const double* squares;
  long long start, stop;
};

struct PairWanted {
  const double* rates;
  int rate_count, distances;
  double near_share;
  int measure;  // 0 for none, 1 for the cosine, 2 for the distance
  int bins, has_threshold;
  const double* limits;  // first edge, bins per unit, rounding of the edges, relative rounding of products, threshold
};

struct PairOut {
  double* sums;  // (blocks, pair_rates + 1): one for each rate, and that of the distances
  unsigned long long* histogram;
  int* close_rows;
  double* nearest;             // (blocks,) closeness
  long long* nearest_pair;     // (blocks, 2)
  long long* unsure;           // (capacity, 3): i, j, and 1 for near an edge or the threshold, plus 2 for too near
  int *unsure_count, capacity;
};

__device__ __forceinline__ float exponential(float x) { return expf(x); }
__device__ __forceinline__ double exponential(double x) { return exp(x); }
__device__ __forceinline__ float root(float x) { return sqrtf(x); }
__device__ __forceinline__ double root(double x) { return sqrt(x); }

// 1 + the number of the bin, 0 below the first edge and bins + 1 from the last edge on.
template <class Sum>
__device__ __forceinline__ int bin_of(Sum value, Sum low, Sum per_unit, int bins) {
  const Sum place = floor((value - low) * per_unit);
  return place < Sum(0) ? 0 : place >= Sum(bins) ? bins + 1 : int(place) + 1;
}

template <class Terms, bool looked_at>
__device__ __forceinline__ void reduce_tiles(const PairSet& left, const PairSet& right, int padded, int panels,
                                             int segment, int within, const PairWanted& want, const PairOut& out) {
  using Tiles = PairTiles<Terms>;
  using Sum = typename Terms::Sum;
  __shared__ double shared[pair_threads];
  __shared__ long long shared_pair[2 * pair_threads];
  __shared__ Sum rates[pair_rates];  // registers are wanted for products
  __shared__ int counts[looked_at ? pair_slots : 1];
  __shared__ int close[looked_at ? Tiles::height : 1];
  const int thread = threadIdx.x;
  const int panel = int(blockIdx.x % (unsigned)panels);
  const long long row = left.start + (long long)panel * Tiles::height;
  long long first = right.start + (long long)(blockIdx.x / (unsigned)panels) * segment * Tiles::width;
  const long long most = first + (long long)segment * Tiles::width;
  const long long last = most < right.stop ? most : right.stop;
  // Tiles that lie below the diagonal hold no pair i < j.
  if (within && first < row / Tiles::width * Tiles::width) first = row / Tiles::width * Tiles::width;
  const int tiles = first < last ? int((last - first + Tiles::width - 1) / Tiles::width) : 0;
  const bool own_counts = looked_at && want.bins > 0 && want.bins + 2 <= pair_slots;
  if constexpr (looked_at) {
    for (int at = thread; at < pair_slots; at += pair_threads) counts[at] = 0;
    for (int at = thread; at < Tiles::height; at += pair_threads) close[at] = 0;
  }
  if (thread < want.rate_count) rates[thread] = Sum(want.rates[thread]);
  __syncthreads();
  const Sum low = Sum(want.limits[0]), per_unit = Sum(want.limits[1]), edge_slack = Sum(want.limits[2]);
  const Sum rounding = Sum(want.limits[3]), threshold = Sum(want.limits[4]), near_share = Sum(want.near_share);
  double sums[pair_rates + 1] = {};
  Sum best = -Sum(__int_as_float(0x7f800000));  // NVRTC knows no INFINITY
  long long best_i = -1, best_j = -1;
  const auto valid = [&](long long i, long long j) {
    return i < left.stop && j < right.stop && !(within && j <= i);
  };
  const auto add = [&](Sum (&parts)[pair_rates + 1], Sum apart) {
#pragma unroll
    for (int r = 0; r < pair_rates; ++r) {
      if (r < want.rate_count) parts[r] += exponential(-rates[r] * apart);
    }
  };
  const auto take = [&](long long column, auto& dots, Sum* board) {
    Sum parts[pair_rates + 1] = {};
    if constexpr (looked_at) {
      // One pair after the other: what is done with each would take too many registers for all of a thread's at once.
      Tiles::lay_out(dots, board);
#pragma unroll 1
      for (int at = thread; at < Tiles::height * Tiles::width; at += pair_threads) {
        const int inner = at / Tiles::width;
        const long long i = row + inner, j = column + at % Tiles::width;
        if (!valid(i, j)) continue;
        const Sum dot = board[at], norms = Sum(left.squares[i]) + Sum(right.squares[j]);
        const Sum difference = norms - 2 * dot, apart = difference > Sum(0) ? difference : Sum(0);
        add(parts, apart);
        int flags = 0;
        if (want.distances) {
          if (apart < near_share * norms) flags = 2;
          else parts[pair_rates] += root(apart);
        }
        if (want.measure) {
          Sum value = dot, slack = rounding;
          if (want.measure == 2) {
            value = root(apart);
            const Sum share = norms * rounding;
            const Sum steep = share / (value > Sum(1e-37) ? value : Sum(1e-37)), flat = root(share);
            slack = steep < flat ? steep : flat;
          }
          slack += edge_slack;
          const Sum closeness = want.measure == 2 ? -value : value;
          if (closeness > best) {
            best = closeness;
            best_i = i;
            best_j = j;
          }
          int bin = 0;
          bool uncertain = false;
          if (want.bins) {
            bin = bin_of(value - slack, low, per_unit, want.bins);
            uncertain = bin != bin_of(value + slack, low, per_unit, want.bins);
          }
          if (want.has_threshold) uncertain |= value - slack <= threshold && value + slack >= threshold;
          if (uncertain) {
            flags |= 1;
          } else {
            if (want.has_threshold && (want.measure == 2 ? value < threshold : value > threshold)) {
              atomicAdd(close + inner, 1);
            }
            if (own_counts) atomicAdd(counts + bin, 1);
            else if (want.bins) atomicAdd(out.histogram + bin, 1ull);
          }
        }
        if (!flags) continue;
        const int place = atomicAdd(out.unsure_count, 1);
        if (place >= out.capacity) continue;
        out.unsure[3ll * place] = i;
        out.unsure[3ll * place + 1] = j;
        out.unsure[3ll * place + 2] = flags;
      }
    } else {
#pragma unroll
      for (int p = 0; p < Tiles::m; ++p) {
#pragma unroll
        for (int half = 0; half < Tiles::entries / 2; ++half) {
          const long long i = row + Tiles::row_of(p, 2 * half);
          const Sum square = i < left.stop ? Sum(left.squares[i]) : Sum(0);
#pragma unroll
          for (int q = 0; q < Tiles::n; ++q) {
#pragma unroll
            for (int side = 0; side < 2; ++side) {
              const long long j = column + Tiles::column_of(q, side);
              if (!valid(i, j)) continue;
              const Sum difference = square + Sum(right.squares[j]) - 2 * dots[p][q][2 * half + side];
              add(parts, difference > Sum(0) ? difference : Sum(0));
            }
          }
        }
      }
    }
#pragma unroll
    for (int r = 0; r <= pair_rates; ++r) sums[r] += double(parts[r]);
  };
  Tiles::each(left.planes, left.plane, right.planes, right.plane, padded, row, first, tiles, take);
#pragma unroll
  for (int r = 0; r <= pair_rates; ++r) {
    __syncthreads();
    shared[thread] = sums[r];
    for (int half = pair_threads / 2; half > 0; half /= 2) {
      __syncthreads();
      if (thread < half) shared[thread] += shared[thread + half];
    }
    if (thread == 0) out.sums[(long long)blockIdx.x * (pair_rates + 1) + r] = shared[0];
  }
  if constexpr (looked_at) {
    __syncthreads();
    shared[thread] = double(best);
    shared_pair[2 * thread] = best_i;
    shared_pair[2 * thread + 1] = best_j;
    __syncthreads();
    if (thread == 0) {
      int at = 0;
      for (int other = 1; other < pair_threads; ++other) at = shared[other] > shared[at] ? other : at;
      out.nearest[blockIdx.x] = shared[at];
      out.nearest_pair[2ll * blockIdx.x] = shared_pair[2 * at];
      out.nearest_pair[2ll * blockIdx.x + 1] = shared_pair[2 * at + 1];
    }
    if (own_counts) {
      for (int at = thread; at < want.bins + 2; at += pair_threads) {
        if (counts[at]) atomicAdd(out.histogram + at, (unsigned long long)counts[at]);
      }
    }
    for (int at = thread; at < Tiles::height; at += pair_threads) {
      if (close[at]) atomicAdd(out.close_rows + (long long)panel * Tiles::height + at, close[at]);
    }
  }
}

}  // namespace featdiv

// Grid: panels of rows x segments of tiles. `reduce` adds exponentials alone, `count` everything.
#define FEATDIV_REDUCE_PAIRS(name, terms, looked_at)                                                                  \
  extern "C" __global__ void __launch_bounds__(featdiv::pair_threads)                                                 \
      name(const void* left, const void* right, long long left_plane, long long right_plane, int padded,              \
           const double* left_squares, const double* right_squares, long long row_start, long long row_stop,          \
           long long column_start, long long column_stop, int panels, int segment, int within, const double* rates,   \
           int rate_count, int distances, double near_share, int measure, int bins, int has_threshold,                \
           const double* limits, double* sums, unsigned long long* histogram, int* close_rows, double* nearest,       \
           long long* nearest_pair, long long* unsure, int* unsure_count, int capacity) {                             \
    const featdiv::PairSet rows = {left, left_plane, left_squares, row_start, row_stop};                              \
    const featdiv::PairSet columns = {right, right_plane, right_squares, column_start, column_stop};                  \
    const featdiv::PairWanted want = {rates, rate_count, distances, near_share, measure, bins, has_threshold, limits}; \
    const featdiv::PairOut out = {sums, histogram, close_rows, nearest, nearest_pair, unsure, unsure_count, capacity}; \
    featdiv::reduce_tiles<featdiv::terms, looked_at>(rows, columns, padded, panels, segment, within, want, out);      \
  }

FEATDIV_REDUCE_PAIRS(reduce_pairs_bfloat16, BFloat16Terms, false)
FEATDIV_REDUCE_PAIRS(reduce_pairs_float64, Float64Terms, false)
FEATDIV_REDUCE_PAIRS(count_pairs_bfloat16, BFloat16Terms, true)
FEATDIV_REDUCE_PAIRS(count_pairs_float64, Float64Terms, true)

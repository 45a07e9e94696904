// One triangle of the products of packed rows: summed by segment of rows, then by group, in an order that is fixed.
//
// Matrix units round their sums towards zero, which is a bias where all products have one sign. So they sum one chain of
// rows at most, the small products of terms first, and each such sum is added by Kahan's rule: a segment may have any
// length. Segments are added in float64. Rows come from global memory through a ring of stages in shared memory.
#include "units.cuh"

constexpr int gram_most_shared = 96 << 10;  // what every device from compute capability 8.0 on has
constexpr int segment_threads = 256;

namespace featdiv {

constexpr int packed_rows = 64;

// Numbers of 16 bytes, the unit of a copy, are permuted within a row so that the lanes of one load meet all banks.
struct BFloat16Unit {
  using Number = unsigned short;
  using Sum = float;
  static constexpr int step = 16, height = 16, width = 8, entries = 4;
  __device__ static __forceinline__ int place(int row, int chunk) { return chunk ^ (row & 7); }
  __device__ static __forceinline__ void multiply(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    multiply_bfloat16(c, a, b0, b1);
  }
};

struct Float16Unit : BFloat16Unit {
  __device__ static __forceinline__ void multiply(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    multiply_float16(c, a, b0, b1);
  }
};

struct Float64Unit {
  using Number = double;
  using Sum = double;
  static constexpr int step = 4, height = 8, width = 8, entries = 2;
  __device__ static __forceinline__ int place(int row, int chunk) { return chunk ^ (row & 3) << 1; }
};

// How a tile is shared out: `side` x `side` entries of a block, `down` x `across` warps of it; `depth` rows are one
// chain and one stage.
template <class Unit, int side, int down, int across, int products, int depth, int stages>
struct Gram {
  using Number = typename Unit::Number;
  using Sum = typename Unit::Sum;
  static constexpr int threads = 32 * down * across;
  static constexpr int terms = products == 6 ? 3 : products == 3 ? 2 : 1;
  static constexpr int per_chunk = 16 / int(sizeof(Number));
  static constexpr int chunks = side / per_chunk;
  static constexpr int operand = terms * depth * side;  // numbers of one side of the product in a stage
  static constexpr int shared_bytes = stages * 2 * operand * int(sizeof(Number));
  static constexpr int warp_height = side / down, warp_width = side / across;
  static constexpr int m = warp_height / Unit::height, n = warp_width / Unit::width;
  // Products of a chain are made for some of the rows of fragments at a time: what is summed takes most registers.
  static constexpr int rounds = m * n * Unit::entries > 32 ? 2 : 1, m_round = m / rounds;
  static constexpr int k_unroll = rounds == 2 && products == 6 ? 1 : depth / Unit::step;  // more would spill
  static_assert(packed_rows % depth == 0 && depth % Unit::step == 0, "a block of rows is whole chains");
  static_assert(depth * chunks % threads == 0, "each thread copies as much");
  static_assert(shared_bytes <= gram_most_shared, "more shared memory than every device has");

  // Starts to copy the terms of `depth` rows of `side` numbers.
  __device__ static __forceinline__ void fetch(const Number* rows, long long plane_stride, int padded, Number* to) {
#pragma unroll
    for (int term = 0; term < terms; ++term) {
#pragma unroll
      for (int at = 0; at < depth * chunks; at += threads) {
        const int inner = (at + int(threadIdx.x)) / chunks, chunk = (at + int(threadIdx.x)) % chunks;
        copy_async(to + (term * depth + inner) * side + Unit::place(inner, chunk) * per_chunk,
                   rows + term * plane_stride + inner * padded + chunk * per_chunk);
      }
    }
  }

  // c += the product of one term of each side over one chain.
  __device__ static __forceinline__ void multiply(Sum (&c)[m_round][n][Unit::entries], const Number* left,
                                                  const Number* right, int i, int j) {
    const int lane = threadIdx.x % 32;
#pragma unroll k_unroll
    for (int k = 0; k < depth; k += Unit::step) {
      if constexpr (sizeof(Number) == 2) {
        unsigned b[n / 2][4];
        const int left_row = k + lane / 16 * 8 + lane % 8, right_row = k + lane / 8 % 2 * 8 + lane % 8;
#pragma unroll
        for (int q = 0; q < n / 2; ++q) {
          const int chunk = j / 8 + 2 * q + lane / 16;
          load_matrices_transposed(b[q], right + right_row * side + Unit::place(right_row, chunk) * 8);
        }
#pragma unroll
        for (int p = 0; p < m_round; ++p) {
          unsigned a[4];
          const int chunk = i / 8 + 2 * p + lane / 8 % 2;
          load_matrices_transposed(a, left + left_row * side + Unit::place(left_row, chunk) * 8);
#pragma unroll
          for (int q = 0; q < n; ++q) Unit::multiply(c[p][q], a, b[q / 2][q % 2 * 2], b[q / 2][q % 2 * 2 + 1]);
        }
      } else {
        double a[m_round], b[n];
        const int row = k + lane % 4, inner = lane / 4;
#pragma unroll
        for (int q = 0; q < m_round; ++q) {
          const int column = i + 8 * q + inner;
          a[q] = left[row * side + Unit::place(row, column / 2) * 2 + column % 2];
        }
#pragma unroll
        for (int q = 0; q < n; ++q) {
          const int column = j + 8 * q + inner;
          b[q] = right[row * side + Unit::place(row, column / 2) * 2 + column % 2];
        }
#pragma unroll
        for (int p = 0; p < m_round; ++p) {
#pragma unroll
          for (int q = 0; q < n; ++q) multiply_float64(c[p][q], a[p], b[q]);
        }
      }
    }
  }

  // total - lost += part, from row of fragments `from` on.
  __device__ static __forceinline__ void add(const Sum (&part)[m_round][n][Unit::entries],
                                             Sum (&total)[m][n][Unit::entries], Sum (&lost)[m][n][Unit::entries],
                                             int from) {
#pragma unroll
    for (int p = 0; p < m_round; ++p) {
#pragma unroll
      for (int q = 0; q < n; ++q) {
#pragma unroll
        for (int e = 0; e < Unit::entries; ++e) {
          Sum &sum = total[from + p][q][e], &rest = lost[from + p][q][e];
          const Sum next = part[p][q][e] - rest;
          const Sum larger = sum + next;
          rest = (larger - sum) - next;
          sum = larger;
        }
      }
    }
  }

  // Sums the products of one segment for one tile into `slab` (segments, tiles, side, side).
  __device__ static __forceinline__ void run(const void* packed, long long plane_stride, int padded,
                                             const int* tile_row, const int* tile_column, int tiles,
                                             const long long* starts, double* slab) {
    const Number* const planes = static_cast<const Number*>(packed);
    Number* const ring = reinterpret_cast<Number*>(dynamic_shared());
    const long long tile = blockIdx.x % (unsigned)tiles, segment = blockIdx.x / (unsigned)tiles;
    const int row = tile_row[tile], column = tile_column[tile];
    const bool diagonal = row == column;  // both sides are the same numbers
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int i = warp / across * warp_height, j = warp % across * warp_width;
    // A segment is far shorter than 2^31 rows; numbers of 64 bits would take registers from the sums.
    constexpr int links = packed_rows / depth;
    const int count = int(starts[segment + 1] - starts[segment]) * links;
    const Number* const from = planes + starts[segment] * packed_rows * padded;
    const auto prefetch = [&](int link) {
      if (link < count) {
        Number* const stage = ring + link % stages * (2 * operand);
        const Number* const rows = from + (long long)link * depth * padded;
        fetch(rows + row, plane_stride, padded, stage);
        if (!diagonal) fetch(rows + column, plane_stride, padded, stage + operand);
      }
      copy_commit();
    };
    Sum total[m][n][Unit::entries] = {}, lost[m][n][Unit::entries] = {};
    for (int ahead = 0; ahead < stages - 1; ++ahead) prefetch(ahead);
    int link = 0;
    do {  // a segment has at least one block of rows; sums that need not exist would take registers
      copy_wait<stages - 2>();
      __syncthreads();
      // All threads have left the stage that is filled now.
      prefetch(link + stages - 1);
      const Number* const left = ring + link % stages * (2 * operand);
      const Number* const right = diagonal ? left : left + operand;
#pragma unroll
      for (int round = 0; round < rounds; ++round) {
        Sum part[m_round][n][Unit::entries] = {};
        const int at = i + round * m_round * Unit::height;
        if constexpr (products == 6) {
          multiply(part, left + 2 * depth * side, right, at, j);
          multiply(part, left, right + 2 * depth * side, at, j);
          multiply(part, left + depth * side, right + depth * side, at, j);
        }
        if constexpr (products >= 3) {
          multiply(part, left + depth * side, right, at, j);
          multiply(part, left, right + depth * side, at, j);
        }
        multiply(part, left, right, at, j);
        add(part, total, lost, round * m_round);
      }
    } while (++link < count);
    double* const out = slab + (long long)blockIdx.x * (side * side);
#pragma unroll
    for (int p = 0; p < m; ++p) {
#pragma unroll
      for (int q = 0; q < n; ++q) {
#pragma unroll
        for (int e = 0; e < Unit::entries; e += 2) {
          const int at_row = i + p * Unit::height + lane / 4 + e / 2 * 8;
          const int at_column = j + q * Unit::width + lane % 4 * 2;
          const double2 pair = {double(total[p][q][e]) - double(lost[p][q][e]),
                                double(total[p][q][e + 1]) - double(lost[p][q][e + 1])};
          *reinterpret_cast<double2*>(out + at_row * side + at_column) = pair;
        }
      }
    }
  }
};

}  // namespace featdiv

// Grid: segments x tiles. Tiles, threads and stages stand in `GRAM_KERNELS` of featdiv/ops/_cuda_moments.py too.
#define FEATDIV_GRAM(name, ...)                                                                                     \
  extern "C" __global__ void __launch_bounds__((featdiv::Gram<__VA_ARGS__>::threads))                               \
      name(const void* planes, long long plane_stride, int padded, const int* tile_row, const int* tile_column,     \
           int tiles, const long long* starts, double* slab) {                                                      \
    featdiv::Gram<__VA_ARGS__>::run(planes, plane_stride, padded, tile_row, tile_column, tiles, starts, slab);      \
  }

FEATDIV_GRAM(gram_bfloat16_6_128, featdiv::BFloat16Unit, 128, 2, 4, 6, 32, 2)
FEATDIV_GRAM(gram_bfloat16_3_128, featdiv::BFloat16Unit, 128, 2, 4, 3, 32, 3)
FEATDIV_GRAM(gram_bfloat16_1_128, featdiv::BFloat16Unit, 128, 2, 4, 1, 64, 3)
FEATDIV_GRAM(gram_float16_1_128, featdiv::Float16Unit, 128, 2, 4, 1, 64, 3)
FEATDIV_GRAM(gram_bfloat16_6_64, featdiv::BFloat16Unit, 64, 2, 2, 6, 32, 2)
FEATDIV_GRAM(gram_bfloat16_3_64, featdiv::BFloat16Unit, 64, 2, 2, 3, 32, 3)
FEATDIV_GRAM(gram_bfloat16_1_64, featdiv::BFloat16Unit, 64, 2, 2, 1, 64, 3)
FEATDIV_GRAM(gram_float16_1_64, featdiv::Float16Unit, 64, 2, 2, 1, 64, 3)
FEATDIV_GRAM(gram_float64_1_64, featdiv::Float64Unit, 64, 2, 4, 1, 32, 3)

// Adds the segments of each group, in their order, to `out` (groups, rows, columns), whose first column is
// `first_column` of the packed ones. Grid: tiles x groups, side^2 / 256.
extern "C" __global__ void __launch_bounds__(segment_threads)
    sum_segments(const double* slab, int side, const int* tile_row, const int* tile_column, int tiles,
                 const long long* of_group, double* out, int rows, int columns, int first_column) {
  const long long tile = blockIdx.x % (unsigned)tiles, group = blockIdx.x / (unsigned)tiles;
  const int inner = blockIdx.y * segment_threads + threadIdx.x;
  const long long i = tile_row[tile] + inner / side, j = tile_column[tile] - first_column + inner % side;
  if (i >= rows || j >= columns) return;
  double total = 0.0;
#pragma unroll 4
  for (long long segment = of_group[group]; segment < of_group[group + 1]; ++segment) {
    total += slab[(segment * tiles + tile) * (side * side) + inner];
  }
  double* const where = out + (group * rows + i) * columns + j;
  *where += total;
}

// Products of packed rows with packed rows, tile by tile, each handed on while it is in registers: what pair_sums and
// topk share.
//
// Planes lie one after the other: plane t holds term t of every row, rows of `padded` numbers (a multiple of 64) and as
// many as fill the last tile. Matrix units round their sums towards zero, so they sum one chain of `depth` features at
// most, the small products of terms first, and chains are added by rounded additions, always in the same order: a
// product depends on its two rows alone, not on where they stand.
#pragma once

#include "units.cuh"

namespace featdiv {

constexpr int pair_threads = 256;
constexpr int pair_warps_down = 4, pair_warps_across = 2;

// Three terms of bfloat16 for a number, six products of terms for a product.
struct BFloat16Terms {
  using Number = unsigned short;
  using Sum = float;
  static constexpr int terms = 3, depth = 32, height = 16, width = 8, entries = 4;
  static constexpr int tile_height = 128, tile_width = 64;
  // Chunks of 16 bytes are permuted within a row so that the lanes of one load meet all banks.
  __device__ static __forceinline__ int place(int row, int chunk) { return chunk ^ (row >> 1 & 3); }
};

struct Float64Terms {
  using Number = double;
  using Sum = double;
  static constexpr int terms = 1, depth = 16, height = 8, width = 8, entries = 2;
  static constexpr int tile_height = 64, tile_width = 64;
  __device__ static __forceinline__ int place(int row, int chunk) { return chunk ^ (row & 7); }
};

template <class Terms>
struct PairTiles {
  using Number = typename Terms::Number;
  using Sum = typename Terms::Sum;
  static constexpr int depth = Terms::depth, height = Terms::tile_height, width = Terms::tile_width;
  static constexpr int entries = Terms::entries;
  static constexpr int per_chunk = 16 / int(sizeof(Number)), chunks = depth / per_chunk;
  static constexpr int operand = Terms::terms * depth;  // numbers of one row in a stage
  static constexpr int stage = (height + width) * operand, stages = 2;
  // A tile that is laid out in shared memory takes the stage that has been used up, or a place of its own.
  static constexpr bool reuse = stage * sizeof(Number) >= height * width * sizeof(Sum);
  static constexpr int shared_bytes =
      stages * stage * int(sizeof(Number)) + (reuse ? 0 : height * width * int(sizeof(Sum)));
  static constexpr int m = height / pair_warps_down / Terms::height, n = width / pair_warps_across / Terms::width;
  static_assert(shared_bytes <= 96 << 10, "more shared memory than every device has");

  using Tile = Sum[m][n][entries];

  // Row and column within the tile of entry e of fragment (p, q) of this thread.
  __device__ static __forceinline__ int row_of(int p, int e) {
    return int(threadIdx.x) / 32 / pair_warps_across * (m * Terms::height) + p * Terms::height +
           int(threadIdx.x) % 32 / 4 + e / 2 * 8;
  }
  __device__ static __forceinline__ int column_of(int q, int e) {
    return int(threadIdx.x) / 32 % pair_warps_across * (n * Terms::width) + q * Terms::width +
           int(threadIdx.x) % 4 * 2 + e % 2;
  }

  // Starts to copy `depth` features of `count` rows.
  template <int count>
  __device__ static __forceinline__ void fetch(const Number* rows, long long plane_stride, int padded, Number* to) {
    static_assert(count * chunks % pair_threads == 0, "each thread copies as much");
#pragma unroll
    for (int term = 0; term < Terms::terms; ++term) {
#pragma unroll
      for (int at = 0; at < count * chunks; at += pair_threads) {
        const int row = (at + int(threadIdx.x)) / chunks, chunk = (at + int(threadIdx.x)) % chunks;
        copy_async(to + (term * count + row) * depth + Terms::place(row, chunk) * per_chunk,
                   rows + term * plane_stride + (long long)row * padded + chunk * per_chunk);
      }
    }
  }

  // c += the products of one term of each side over one chain.
  __device__ static __forceinline__ void multiply(Tile& c, const Number* left, const Number* right) {
    const int lane = threadIdx.x % 32;
    const int i = row_of(0, 0) - lane / 4, j = column_of(0, 0) - lane % 4 * 2;
    if constexpr (sizeof(Number) == 2) {
#pragma unroll
      for (int k = 0; k < chunks; k += 2) {
        unsigned b[n / 2][4];
#pragma unroll
        for (int q = 0; q < n / 2; ++q) {
          const int row = j + 16 * q + lane / 16 * 8 + lane % 8;
          load_matrices(b[q], right + row * depth + Terms::place(row, k + lane / 8 % 2) * 8);
        }
#pragma unroll
        for (int p = 0; p < m; ++p) {
          unsigned a[4];
          const int row = i + 16 * p + lane / 8 % 2 * 8 + lane % 8;
          load_matrices(a, left + row * depth + Terms::place(row, k + lane / 16) * 8);
#pragma unroll
          for (int q = 0; q < n; ++q) multiply_bfloat16(c[p][q], a, b[q / 2][q % 2 * 2], b[q / 2][q % 2 * 2 + 1]);
        }
      }
    } else {
#pragma unroll
      for (int k = 0; k < depth; k += 4) {
        const int feature = k + lane % 4;
        double a[m], b[n];
#pragma unroll
        for (int p = 0; p < m; ++p) {
          const int row = i + 8 * p + lane / 4;
          a[p] = left[row * depth + Terms::place(row, feature / 2) * 2 + feature % 2];
        }
#pragma unroll
        for (int q = 0; q < n; ++q) {
          const int row = j + 8 * q + lane / 4;
          b[q] = right[row * depth + Terms::place(row, feature / 2) * 2 + feature % 2];
        }
#pragma unroll
        for (int p = 0; p < m; ++p) {
#pragma unroll
          for (int q = 0; q < n; ++q) multiply_float64(c[p][q], a[p], b[q]);
        }
      }
    }
  }

  // Writes a tile to shared memory, row after row. All threads have come here together, and leave together.
  __device__ static __forceinline__ void lay_out(const Tile& tile, Sum* board) {
    __syncthreads();
#pragma unroll
    for (int p = 0; p < m; ++p) {
#pragma unroll
      for (int q = 0; q < n; ++q) {
#pragma unroll
        for (int e = 0; e < entries; ++e) board[row_of(p, e) * width + column_of(q, e)] = tile[p][q][e];
      }
    }
    __syncthreads();
  }

  // Calls f(first column, tile, board) for `count` tiles beside one another, from row `row` and column `column` on. All threads
  // of the block call it together, and f with them; `board` is room for `lay_out`.
  template <class F>
  __device__ static __forceinline__ void each(const void* left, long long left_plane, const void* right,
                                              long long right_plane, int padded, long long row, long long column,
                                              int count, F&& f) {
    const Number* const x = static_cast<const Number*>(left) + row * padded;
    const Number* const y = static_cast<const Number*>(right) + column * padded;
    Number* const ring = reinterpret_cast<Number*>(dynamic_shared());
    const int links = padded / depth;
    const int steps = count * links;
    const auto prefetch = [&](int step) {
      if (step < steps) {
        Number* const to = ring + step % stages * stage;
        const int from = step % links * depth;
        fetch<height>(x + from, left_plane, padded, to);
        fetch<width>(y + (long long)(step / links * width) * padded + from, right_plane, padded, to + height * operand);
      }
      copy_commit();
    };
    prefetch(0);
    Tile total = {};
    for (int step = 0; step < steps; ++step) {
      copy_wait<0>();
      // All numbers of this stage have come, and all threads have left the one that is filled now.
      __syncthreads();
      prefetch(step + 1);
      const Number* const a = ring + step % stages * stage;
      const Number* const b = a + height * operand;
      Tile part = {};
      if constexpr (Terms::terms == 3) {
        constexpr int down = height * depth, across = width * depth;
        multiply(part, a + 2 * down, b);
        multiply(part, a, b + 2 * across);
        multiply(part, a + down, b + across);
        multiply(part, a + down, b);
        multiply(part, a, b + across);
      }
      multiply(part, a, b);
      const bool last = step % links == links - 1;
#pragma unroll
      for (int p = 0; p < m; ++p) {
#pragma unroll
        for (int q = 0; q < n; ++q) {
#pragma unroll
          for (int e = 0; e < entries; ++e) total[p][q][e] += part[p][q][e];
        }
      }
      if (!last) continue;
      Number* const used = ring + (reuse ? step % stages : stages) * stage;
      f(column + step / links * width, total, reinterpret_cast<Sum*>(used));
#pragma unroll
      for (int p = 0; p < m; ++p) {
#pragma unroll
        for (int q = 0; q < n; ++q) {
#pragma unroll
          for (int e = 0; e < entries; ++e) total[p][q][e] = 0;
        }
      }
    }
    copy_wait<0>();
  }
};

}  // namespace featdiv

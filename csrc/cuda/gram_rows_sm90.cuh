// One triangle of the products of rows as they lie in memory, and the sums of their columns, on compute capability 9.0.
//
// Nothing is packed: the third warpgroup of gram_sm90.cuh reads rows into registers, splits them into terms and stores
// these where the matrix units read them, so a float32 number crosses the memory system as 4 bytes, not as 4, 6 and 6
// again for each tile. While it splits one side of a chain, the other is on its way. Blocks on the diagonal, which read
// one side only, also sum the columns and their squares in float64.
//
// A thread reads four features of a row at once: rows begin and end at a multiple of that. Those past the last, and
// features past d, are zeros. What binds all this on an H200, unit by unit, stands in docs/gpu.md.
#include "elements.cuh"
#include "warpgroups_sm90.cuh"

namespace featdiv {

// Four features of a row, and the products they are for: they are split into terms, or taken as they are.
struct Float32Four {
  using Bits = uint4;
  static constexpr int bytes = 16;

  __device__ static __forceinline__ float at(const uint4& bits, int i) {
    return __uint_as_float(i == 0 ? bits.x : i == 1 ? bits.y : i == 2 ? bits.z : bits.w);
  }
#ifdef FEATDIV_SM90
  template <int terms, int term_bytes>
  __device__ static __forceinline__ void store(unsigned to, const uint4& bits) {
    float z[4] = {at(bits, 0), at(bits, 1), at(bits, 2), at(bits, 3)};
#pragma unroll
    for (int term = 0; term < terms; ++term) {
      const unsigned first = pair_of_bfloat16(z[0], z[1]), second = pair_of_bfloat16(z[2], z[3]);
      store_operand(to + term * term_bytes, first, second);
      z[0] -= low_bfloat16(first), z[1] -= high_bfloat16(first);
      z[2] -= low_bfloat16(second), z[3] -= high_bfloat16(second);
    }
  }
#endif
};

template <class T>
struct HalvesFour {
  using Bits = uint2;
  static constexpr int bytes = 8;

  __device__ static __forceinline__ float at(const uint2& bits, int i) {
    const unsigned pair = i < 2 ? bits.x : bits.y;
    return to_float(T{(unsigned short)(i % 2 ? pair >> 16 : pair)});
  }
#ifdef FEATDIV_SM90
  template <int terms, int>
  __device__ static __forceinline__ void store(unsigned to, const uint2& bits) {
    static_assert(terms == 1, "the matrix units take them as they are");
    store_operand(to, bits.x, bits.y);
  }
#endif
};

template <class Four, class Unit, int products, int depth, int stages>
struct GramRows {
  static constexpr int kept = 104;
  using Tile = Warpgroups<Unit, products, depth, stages, kept>;
  using Bits = typename Four::Bits;
  static constexpr int strips = 4;                   // rows that are read at once, one by each warp
  static constexpr int reads = 128 / Four::bytes;    // of a thread on one side before the other: 16 KB of them
  static constexpr int rows_read = reads * strips;
  static constexpr int parts = depth / rows_read;    // of a chain
  static_assert(Tile::side == 32 * 4 && strips * 32 == warpgroup_threads, "a warp reads a row of a tile");
  static_assert(depth % rows_read == 0 && rows_read % 8 == 0, "whole patterns of units");

  struct Rows {
    const void* x;
    long long row_bytes, first, stop;
    int d;
  };

#ifdef FEATDIV_SM90
  // Fills the ring, and on the diagonal sums columns into `totals` and `squares` (strips, padded).
  __device__ static __forceinline__ void fill(const typename Tile::Ring& ring, const typename Tile::Work& work,
                                              const Rows& rows, int padded, double* totals, double* squares) {
    const int lane = threadIdx.x % 32, strip = threadIdx.x / 32 % strips, feature = 4 * lane;
    const bool diagonal = work.diagonal();
    const long long first = rows.first + work.first * Tile::packed_rows;
    const long long left = rows.stop - first;
    const int many = work.count * depth, present = left < many ? int(left) : many;
    const char* const own = static_cast<const char*>(rows.x) + (first + strip) * rows.row_bytes;
    // Where the first row of this thread goes within a side; units of its row are permuted by row % 8.
    const int unit = feature % Tile::group / 8;
    const unsigned place = feature / Tile::group * Tile::group_bytes + strip * Tile::row_bytes + feature % 8 * 2;
    double total[4] = {}, square[4] = {};

    const auto read = [&](Bits (&held)[reads], int batch) {
      const int part = diagonal ? batch : batch / 2;
      const int column = (diagonal || batch % 2 == 0 ? work.row : work.column) + feature;
      const char* at = own + part * (rows_read * rows.row_bytes) + column / 4 * Four::bytes;
#pragma unroll
      for (int i = 0; i < reads; ++i, at += strips * rows.row_bytes) {
        const bool here = column < rows.d && part * rows_read + i * strips + strip < present;
        held[i] = here ? __ldg(reinterpret_cast<const Bits*>(at)) : Bits{};
      }
    };
    const auto put = [&](const Bits (&held)[reads], int batch) {
      const int part = diagonal ? batch : batch / 2, link = part / parts, stage = link % stages;
      const bool second = !diagonal && batch % 2 == 1;
      if (part % parts == 0 && !second) Tile::wait_until_empty(ring, link);
      const unsigned to = ring.stage(stage) + (second ? Tile::side_bytes : 0) +
                          part % parts * (rows_read * Tile::row_bytes) + place;
#pragma unroll
      for (int i = 0; i < reads; ++i) {
        const int permuted = unit ^ ((i * strips + strip) & 7);
        Four::template store<Tile::terms, Tile::term_bytes>(to + i * strips * Tile::row_bytes + permuted * 16, held[i]);
      }
      if (part % parts == parts - 1 && (diagonal || second)) {
        operands_stored();
        __syncwarp();
        if (lane == 0) barrier_arrive(ring.full(stage));
      }
      if (!diagonal) return;
#pragma unroll
      for (int i = 0; i < reads; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const double z = Four::at(held[i], j);
          total[j] += z;
          square[j] += z * z;
        }
      }
    };

    const int batches = work.count * parts * (diagonal ? 1 : 2);
    Bits held[reads], other[reads];
    read(held, 0);
    for (int batch = 0; batch < batches; batch += 2) {
      if (batch + 1 < batches) read(other, batch + 1);
      put(held, batch);
      if (batch + 2 < batches) read(held, batch + 2);
      if (batch + 1 < batches) put(other, batch + 1);
    }
    if (!diagonal) return;
    const long long sums = (long long)strip * padded + work.row + feature;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      totals[sums + j] = total[j];
      squares[sums + j] = square[j];
    }
  }

  // Sums the products of one segment for one tile into `slab` (segments, tiles, side, side), and the columns of the
  // segment into `totals` and `squares` (segments, strips, padded).
  __device__ static __forceinline__ void run(const Rows& rows, int padded, const int* tile_row, const int* tile_column,
                                             int tiles, const long long* starts, double* slab, double* totals,
                                             double* squares) {
    typename Tile::Ring ring;
    const auto* const work = Tile::prepare(&ring, warpgroup_threads / 32, tile_row, tile_column, tiles, starts);
    if (threadIdx.x / warpgroup_threads == Tile::multiplying) {
      give_registers<kept>();
      const long long sums = (long long)(blockIdx.x / (unsigned)tiles) * strips * padded;
      fill(ring, *work, rows, padded, totals + sums, squares + sums);
    } else {
      take_registers<Tile::taken>();
      Tile::sum_chains(ring, work, slab + (long long)blockIdx.x * (Tile::side * Tile::side));
    }
  }
#else
  // Nothing launches this: the host asks for the device and for how the kernel was built.
  __device__ static void run(const Rows&, int, const int*, const int*, int, const long long*, double*, double*,
                             double*) {
    __trap();
  }
#endif
};

}  // namespace featdiv

// Grid: segments x tiles; `starts` are blocks of 64 rows from `first` on. Threads, shared memory and strips stand in
// `ROW_KERNELS` of featdiv/ops/_cuda_sm90.py too.
#define FEATDIV_GRAM_ROWS(name, ...)                                                                                 \
  extern "C" __global__ void __launch_bounds__((featdiv::GramRows<__VA_ARGS__>::Tile::threads), 1)                   \
      name(const void* x, long long row_bytes, long long first, long long stop, int d, int padded,                   \
           const int* tile_row, const int* tile_column, int tiles, const long long* starts, double* slab,            \
           double* totals, double* squares) {                                                                        \
    featdiv::GramRows<__VA_ARGS__>::run({x, row_bytes, first, stop, d}, padded, tile_row, tile_column, tiles, starts, \
                                        slab, totals, squares);                                                      \
  }

FEATDIV_GRAM_ROWS(gram_rows_sm90_float32_6, featdiv::Float32Four, featdiv::BFloat16Warpgroup, 6, 32, 4)
FEATDIV_GRAM_ROWS(gram_rows_sm90_float32_3, featdiv::Float32Four, featdiv::BFloat16Warpgroup, 3, 64, 3)
FEATDIV_GRAM_ROWS(gram_rows_sm90_float32_1, featdiv::Float32Four, featdiv::BFloat16Warpgroup, 1, 64, 6)
FEATDIV_GRAM_ROWS(gram_rows_sm90_bfloat16_1, featdiv::HalvesFour<featdiv::BFloat>, featdiv::BFloat16Warpgroup, 1, 64, 6)
FEATDIV_GRAM_ROWS(gram_rows_sm90_float16_1, featdiv::HalvesFour<featdiv::Half>, featdiv::Float16Warpgroup, 1, 64, 6)

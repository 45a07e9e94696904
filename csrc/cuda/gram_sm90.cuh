// One triangle of the products of packed rows on compute capability 9.0: what gram.cuh does, by warpgroups.
//
// A packed plane is here a row of tiles of 64 rows by 64 features, 8 KB each, permuted as the matrix units read them
// (`Planes::tile` in moments.cuh): tile (block, group) is number block * padded / 64 + group. So a stage is brought by a
// few bulk copies of one thread, without an address for each row. Both operands have features side by side, which is
// "transposed" to the units: they read 16-bit operands either way.
//
// Two warpgroups own 64 x 128 of a tile of 128 x 128 each. Sums take 160 registers of a thread (one chain, its total,
// and half a register for what the total lost), which is why the tile is no larger, and why the third warpgroup, which
// only copies, gives registers away. While one warpgroup adds its chain to its total, the other's products keep the
// matrix units busy.
//
// Prediction for an H200, from 4,096 flops a cycle and multiprocessor, 128 bytes a cycle of shared memory, and 28 bytes
// a cycle from the second-level cache with all multiprocessors at it. Cycles of one chain off the diagonal:
//
//   products   rows   matrix units   shared memory: read + filled   cache   additions
//          6     32           1536                     1152 + 384    1755         704
//          3     64           1536                     1152 + 512    2340         704
//          1     64            512                      384 + 256    1170         704
//
// On the diagonal both sides are one and the cache gives half: of 768 features, 6 of 21 tiles, so 1504, 2006 and 1003
// cycles on average. Six products are bound by the matrix units, with everything else close: 70 to 85 % of their rate.
// One product is bound by the cache, at half of it; clusters that share their copies would raise that.
#include "units_sm90.cuh"

namespace featdiv {

struct BFloat16Warpgroup {
#ifdef FEATDIV_SM90
  template <bool add>
  __device__ static __forceinline__ void multiply(float (&c)[warpgroup_entries], unsigned long long a,
                                                  unsigned long long b) {
    multiply_warpgroup_bfloat16<add>(c, a, b);
  }
#endif
};

struct Float16Warpgroup {
#ifdef FEATDIV_SM90
  template <bool add>
  __device__ static __forceinline__ void multiply(float (&c)[warpgroup_entries], unsigned long long a,
                                                  unsigned long long b) {
    multiply_warpgroup_float16<add>(c, a, b);
  }
#endif
};

// `depth` rows are one chain and one stage.
template <class Unit, int products, int depth, int stages>
struct GramWarpgroups {
  static constexpr int side = 128, group = 64, packed_rows = 64;
  static constexpr int multiplying = side / 64, threads = warpgroup_threads * (multiplying + 1);
  static constexpr int terms = products == 6 ? 3 : products == 3 ? 2 : 1;
  static constexpr int group_bytes = depth * group * 2;
  static constexpr int term_bytes = side / group * group_bytes, side_bytes = terms * term_bytes;
  static constexpr int stage_bytes = 2 * side_bytes;
  static constexpr int shared_bytes = swizzle_bytes + stages * (stage_bytes + 2 * barrier_bytes) + 32;
  static constexpr int links = packed_rows / depth;
  static_assert(packed_rows % depth == 0 && depth % 16 == 0, "a block of rows is whole chains");
  static_assert(group_bytes % swizzle_bytes == 0, "the pattern of each group begins anew");
  static_assert(shared_bytes <= 227 << 10, "more shared memory than a block may have");

  // What a block does; from shared memory, since registers that all roles share would be those of the poorest.
  struct Work {
    long long first;  // block of rows
    int count;        // chains; a segment is far shorter than 2^31 rows
    int row, column;
  };
  static_assert(sizeof(Work) <= 32, "the room that shared_bytes has for it");

#ifdef FEATDIV_SM90
  // Starts to copy the terms of `depth` rows of one side.
  __device__ static __forceinline__ void fetch(const unsigned short* tile, long long plane_stride,
                                               unsigned to, unsigned barrier) {
#pragma unroll
    for (int term = 0; term < terms; ++term) {
#pragma unroll
      for (int at = 0; at < side / group; ++at) {
        copy_bulk(to + term * term_bytes + at * group_bytes,
                  tile + term * plane_stride + at * (packed_rows * group), group_bytes, barrier);
      }
    }
  }

  // c = the product of one term of each side over one chain, plus c where `add`.
  template <int left_term, int right_term, bool add>
  __device__ static __forceinline__ void multiply(float (&c)[warpgroup_entries], unsigned long long left,
                                                  unsigned long long right) {
    left = matrix_behind(left, left_term * term_bytes);
    right = matrix_behind(right, right_term * term_bytes);
    Unit::template multiply<add>(c, left, right);
#pragma unroll
    for (int k = 16; k < depth; k += 16) {
      Unit::template multiply<true>(c, matrix_behind(left, k * group * 2), matrix_behind(right, k * group * 2));
    }
  }

  // The products of a chain, the small ones first.
  __device__ static __forceinline__ void chain(float (&c)[warpgroup_entries], unsigned long long left,
                                               unsigned long long right) {
    products_begin();
    if constexpr (products == 6) {
      multiply<2, 0, false>(c, left, right);
      multiply<0, 2, true>(c, left, right);
      multiply<1, 1, true>(c, left, right);
    }
    if constexpr (products >= 3) {
      multiply<1, 0, products == 6>(c, left, right);
      multiply<0, 1, true>(c, left, right);
    }
    multiply<0, 0, (products >= 3)>(c, left, right);
    products_commit();
    products_wait(c);
  }

  // total - lost += part, by Kahan's rule. Of what a sum loses, 8 bits are kept, two such to a register: the rounding of
  // it is 2^-33 of the sum.
  __device__ static __forceinline__ void add(const float (&part)[warpgroup_entries], float (&total)[warpgroup_entries],
                                             unsigned (&lost)[warpgroup_entries / 2]) {
#pragma unroll
    for (int e = 0; e < warpgroup_entries; e += 2) {
      const float next = part[e] - low_bfloat16(lost[e / 2]), other = part[e + 1] - high_bfloat16(lost[e / 2]);
      const float sum = total[e] + next, second = total[e + 1] + other;
      lost[e / 2] = pair_of_bfloat16((sum - total[e]) - next, (second - total[e + 1]) - other);
      total[e] = sum;
      total[e + 1] = second;
    }
  }

  // Sums the products of one segment for one tile into `slab` (segments, tiles, side, side).
  __device__ static __forceinline__ void run(const void* packed, long long plane_stride, int padded,
                                             const int* tile_row, const int* tile_column, int tiles,
                                             const long long* starts, double* slab) {
    unsigned char* const base = dynamic_shared();
    const unsigned window = shared_address(base);
    const unsigned ring = (window + swizzle_bytes - 1) / swizzle_bytes * swizzle_bytes;
    const unsigned full = ring + stages * stage_bytes, empty = full + stages * barrier_bytes;
    Work* const work = reinterpret_cast<Work*>(base + (empty + stages * barrier_bytes - window));
    if (threadIdx.x == 0) {
      const long long tile = blockIdx.x % (unsigned)tiles, segment = blockIdx.x / (unsigned)tiles;
      const int blocks = int(starts[segment + 1] - starts[segment]);
      *work = {starts[segment], blocks * links, tile_row[tile], tile_column[tile]};
      for (int stage = 0; stage < stages; ++stage) {
        barrier_prepare(full + stage * barrier_bytes, 1);
        barrier_prepare(empty + stage * barrier_bytes, multiplying * warpgroup_threads / 32);
      }
      barriers_prepared();
    }
    __syncthreads();
    const int warpgroup = threadIdx.x / warpgroup_threads;
    if (warpgroup == multiplying) {
      give_registers<56>();
      if (threadIdx.x % warpgroup_threads == 0) {
        const int count = work->count, row = work->row, column = work->column;
        const bool diagonal = row == column;  // both sides are the same numbers
        const long long block_stride = (long long)packed_rows * padded;
        const unsigned short* const rows = static_cast<const unsigned short*>(packed) + work->first * block_stride;
        const unsigned short* const left = rows + row * packed_rows;
        const unsigned short* const right = rows + column * packed_rows;
        for (int link = 0; link < count; ++link) {
          const int stage = link % stages, turn = link / stages;
          if (turn > 0) barrier_wait(empty + stage * barrier_bytes, (turn - 1) & 1);
          barrier_announce(full + stage * barrier_bytes, diagonal ? side_bytes : 2 * side_bytes);
          const long long from = link / links * block_stride + link % links * (depth * group);
          const unsigned to = ring + stage * stage_bytes;
          fetch(left + from, plane_stride, to, full + stage * barrier_bytes);
          if (!diagonal) fetch(right + from, plane_stride, to + side_bytes, full + stage * barrier_bytes);
        }
      }
    } else {
      take_registers<224>();
      int left_over = work->count, stage = 0;
      unsigned turn = 0;
      const int behind = work->row == work->column ? 0 : side_bytes;
      const int warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
      float total[warpgroup_entries] = {};
      unsigned lost[warpgroup_entries / 2] = {};
      do {  // a segment has at least one block of rows; sums that need not exist would take registers
        barrier_wait(full + stage * barrier_bytes, turn);
        const unsigned from = ring + stage * stage_bytes;
        float part[warpgroup_entries];
        chain(part, matrix_descriptor(from + warpgroup * group_bytes, group_bytes),
              matrix_descriptor(from + behind, group_bytes));
        if (lane == 0) barrier_arrive(empty + stage * barrier_bytes);
        // Always so; but in a block of its own, the additions are not spread out over more registers than there are.
        if (is_positive(left_over)) add(part, total, lost);
        if (++stage == stages) stage = 0, turn ^= 1;
      } while (--left_over > 0);
      double* const out = slab + (long long)blockIdx.x * (side * side);
      const int row = warpgroup * 64 + warp * 16 + lane / 4, column = lane % 4 * 2;
#pragma unroll
      for (int e = 0; e < warpgroup_entries; e += 2) {
        const double2 pair = {double(total[e]) - low_bfloat16(lost[e / 2]),
                              double(total[e + 1]) - high_bfloat16(lost[e / 2])};
        *reinterpret_cast<double2*>(out + (row + e / 2 % 2 * 8) * side + column + e / 4 * 8) = pair;
      }
    }
  }
#else
  // Nothing launches this: the host asks for the device and for how the kernel was built.
  __device__ static void run(const void*, long long, int, const int*, const int*, int, const long long*, double*) {
    __trap();
  }
#endif
};

}  // namespace featdiv

// Grid: segments x tiles. Threads and shared memory stand in `GRAM_KERNELS` of featdiv/ops/_cuda_sm90.py too.
#define FEATDIV_GRAM_SM90(name, ...)                                                                                \
  extern "C" __global__ void __launch_bounds__((featdiv::GramWarpgroups<__VA_ARGS__>::threads), 1)                  \
      name(const void* planes, long long plane_stride, int padded, const int* tile_row, const int* tile_column,     \
           int tiles, const long long* starts, double* slab) {                                                      \
    featdiv::GramWarpgroups<__VA_ARGS__>::run(planes, plane_stride, padded, tile_row, tile_column, tiles, starts,   \
                                              slab);                                                                \
  }

FEATDIV_GRAM_SM90(gram_sm90_bfloat16_6, featdiv::BFloat16Warpgroup, 6, 32, 4)
FEATDIV_GRAM_SM90(gram_sm90_bfloat16_3, featdiv::BFloat16Warpgroup, 3, 64, 3)
FEATDIV_GRAM_SM90(gram_sm90_bfloat16_1, featdiv::BFloat16Warpgroup, 1, 64, 6)
FEATDIV_GRAM_SM90(gram_sm90_float16_1, featdiv::Float16Warpgroup, 1, 64, 6)

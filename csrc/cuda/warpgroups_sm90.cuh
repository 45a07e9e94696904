// A tile of products on compute capability 9.0: two warpgroups multiply and add what a third puts into shared memory.
//
// Each of the two owns 64 x 128 of a tile of 128 x 128. Sums take 160 registers of a thread (one chain, its total, and
// half a register for what the total lost), which is why the tile is no larger, and why the third warpgroup gives
// registers away. The two take turns: while one adds its chain to its total, the other's products keep the matrix units
// busy. Both operands have features side by side, which is "transposed" to the units: they read 16-bit numbers either way.
//
// A stage of the ring holds one chain of both sides (of one, on the diagonal): for each term of a number, groups of 64
// features, rows of 128 bytes whose units of 16 bytes are permuted as the matrix units read them.
#pragma once

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

// `depth` rows are one chain and one stage; `kept` registers are left to each thread of the warpgroup that fills stages.
template <class Unit, int products, int depth, int stages, int kept>
struct Warpgroups {
  static constexpr int side = 128, group = 64, packed_rows = 64;
  static constexpr int multiplying = side / 64, threads = warpgroup_threads * (multiplying + 1);
  static constexpr int taken = (504 - kept) / multiplying;  // of 512, what the launch deals out are multiples of 8
  static constexpr int terms = products == 6 ? 3 : products == 3 ? 2 : 1;
  static constexpr int row_bytes = group * 2, group_bytes = depth * row_bytes;
  static constexpr int term_bytes = side / group * group_bytes, side_bytes = terms * term_bytes;
  static constexpr int stage_bytes = 2 * side_bytes;
  static constexpr int shared_bytes =
      swizzle_bytes + stages * stage_bytes + (2 * stages + multiplying) * barrier_bytes + 32;
  static constexpr int links = packed_rows / depth;
  static_assert(packed_rows % depth == 0 && depth % 16 == 0, "a block of rows is whole chains");
  static_assert(group_bytes % swizzle_bytes == 0, "the pattern of each group begins anew");
  static_assert(shared_bytes <= 227 << 10, "more shared memory than a block may have");
  static_assert(kept % 8 == 0 && taken % 8 == 0, "counts that a device takes");

  // What a block does; from shared memory, since registers that all roles share would be those of the poorest.
  struct Work {
    long long first;  // block of rows
    int count;        // chains; a segment is far shorter than 2^31 rows
    int row, column;

    __device__ __forceinline__ bool diagonal() const { return row == column; }  // both sides are the same numbers
  };
  static_assert(sizeof(Work) <= 32, "the room that shared_bytes has for it");

#ifdef FEATDIV_SM90
  struct Ring {
    unsigned begin, barriers;

    __device__ __forceinline__ unsigned stage(int number) const { return begin + number * stage_bytes; }
    // A stage is full; a stage is empty; a warpgroup may multiply.
    __device__ __forceinline__ unsigned full(int number) const { return barriers + number * barrier_bytes; }
    __device__ __forceinline__ unsigned empty(int number) const { return full(stages + number); }
    __device__ __forceinline__ unsigned turn(int warpgroup) const { return full(2 * stages + warpgroup); }
  };

  // Lays out shared memory; `arrivals` make a stage full. For all threads of a block of a grid of segments x tiles.
  __device__ static __forceinline__ const Work* prepare(Ring* ring, int arrivals, const int* tile_row,
                                                        const int* tile_column, int tiles, const long long* starts) {
    unsigned char* const base = dynamic_shared();
    const unsigned window = shared_address(base);
    ring->begin = (window + swizzle_bytes - 1) / swizzle_bytes * swizzle_bytes;
    ring->barriers = ring->begin + stages * stage_bytes;
    Work* const work = reinterpret_cast<Work*>(base + (ring->turn(multiplying) - window));
    if (threadIdx.x == 0) {
      const long long tile = blockIdx.x % (unsigned)tiles, segment = blockIdx.x / (unsigned)tiles;
      const int blocks = int(starts[segment + 1] - starts[segment]);
      *work = {starts[segment], blocks * links, tile_row[tile], tile_column[tile]};
      constexpr int warps = warpgroup_threads / 32;
      for (int stage = 0; stage < stages; ++stage) {
        barrier_prepare(ring->full(stage), arrivals);
        barrier_prepare(ring->empty(stage), multiplying * warps);
      }
      for (int warpgroup = 0; warpgroup < multiplying; ++warpgroup) barrier_prepare(ring->turn(warpgroup), warps);
      barriers_prepared();
    }
    __syncthreads();
    return work;
  }

  // Waits until the chain `link` may be put into its stage.
  __device__ static __forceinline__ void wait_until_empty(const Ring& ring, int link) {
    const int stage = link % stages, round = link / stages;
    if (round > 0) barrier_wait(ring.empty(stage), (round - 1) & 1);
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
      Unit::template multiply<true>(c, matrix_behind(left, k * row_bytes), matrix_behind(right, k * row_bytes));
    }
  }

  // Starts the products of a chain, the small ones first.
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

  // What the warpgroups that multiply do: sums the products of one segment for one tile into `out` (side, side).
  __device__ static __forceinline__ void sum_chains(const Ring& ring, const Work* work, double* out) {
    int left_over = work->count, stage = 0;
    unsigned round = 0, turn = 0;
    const int behind = work->diagonal() ? 0 : side_bytes;
    const int warpgroup = threadIdx.x / warpgroup_threads, warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
    float total[warpgroup_entries] = {};
    unsigned lost[warpgroup_entries / 2] = {};
    do {  // a segment has at least one block of rows; sums that need not exist would take registers
      barrier_wait(ring.full(stage), round);
      const unsigned from = ring.stage(stage);
      // The first turn is the first warpgroup's: it waits for a phase that counts as over.
      barrier_wait(ring.turn(warpgroup), warpgroup == 0 ? turn ^ 1 : turn);
      float part[warpgroup_entries];
      chain(part, matrix_descriptor(from + warpgroup * group_bytes, group_bytes),
            matrix_descriptor(from + behind, group_bytes));
      if (lane == 0) barrier_arrive(ring.turn(multiplying - 1 - warpgroup));
      products_wait(part);
      if (lane == 0) barrier_arrive(ring.empty(stage));
      // Always so; but in a block of its own, the additions are not spread out over more registers than there are.
      if (is_positive(left_over)) add(part, total, lost);
      if (++stage == stages) stage = 0, round ^= 1;
      turn ^= 1;
    } while (--left_over > 0);
    const int row = warpgroup * 64 + warp * 16 + lane / 4, column = lane % 4 * 2;
#pragma unroll
    for (int e = 0; e < warpgroup_entries; e += 2) {
      const double2 pair = {double(total[e]) - low_bfloat16(lost[e / 2]),
                            double(total[e + 1]) - high_bfloat16(lost[e / 2])};
      *reinterpret_cast<double2*>(out + (row + e / 2 % 2 * 8) * side + column + e / 4 * 8) = pair;
    }
  }
#endif
};

}  // namespace featdiv

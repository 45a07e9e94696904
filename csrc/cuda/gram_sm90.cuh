// One triangle of the products of packed rows on compute capability 9.0: what gram.cuh does, by warpgroups.
//
// A packed plane is here a row of tiles of 64 rows by 64 features, 8 KB each, permuted as the matrix units read them
// (`Planes::tile` in moments.cuh): tile (block, group) is number block * padded / 64 + group. So a stage is brought by a
// few bulk copies of one thread, without an address for each row.
#include "warpgroups_sm90.cuh"

namespace featdiv {

template <class Unit, int products, int depth, int stages>
struct GramPacked {
  using Tile = Warpgroups<Unit, products, depth, stages, 56>;

#ifdef FEATDIV_SM90
  // Starts to copy the terms of `depth` rows of one side.
  __device__ static __forceinline__ void fetch(const unsigned short* tile, long long plane_stride,
                                               unsigned to, unsigned barrier) {
#pragma unroll
    for (int term = 0; term < Tile::terms; ++term) {
#pragma unroll
      for (int at = 0; at < Tile::side / Tile::group; ++at) {
        copy_bulk(to + term * Tile::term_bytes + at * Tile::group_bytes,
                  tile + term * plane_stride + at * (Tile::packed_rows * Tile::group), Tile::group_bytes, barrier);
      }
    }
  }

  // Fills the ring; for one thread.
  __device__ static __forceinline__ void fill(const typename Tile::Ring& ring, const typename Tile::Work& work,
                                              const void* packed, long long plane_stride, int padded) {
    const bool diagonal = work.diagonal();
    const long long block_stride = (long long)Tile::packed_rows * padded;
    const unsigned short* const rows = static_cast<const unsigned short*>(packed) + work.first * block_stride;
    const unsigned short* const left = rows + work.row * Tile::packed_rows;
    const unsigned short* const right = rows + work.column * Tile::packed_rows;
    for (int link = 0; link < work.count; ++link) {
      const int stage = link % stages;
      Tile::wait_until_empty(ring, link);
      barrier_announce(ring.full(stage), diagonal ? Tile::side_bytes : 2 * Tile::side_bytes);
      const long long from = link / Tile::links * block_stride + link % Tile::links * (depth * Tile::group);
      const unsigned to = ring.stage(stage);
      fetch(left + from, plane_stride, to, ring.full(stage));
      if (!diagonal) fetch(right + from, plane_stride, to + Tile::side_bytes, ring.full(stage));
    }
  }

  // Sums the products of one segment for one tile into `slab` (segments, tiles, side, side).
  __device__ static __forceinline__ void run(const void* packed, long long plane_stride, int padded,
                                             const int* tile_row, const int* tile_column, int tiles,
                                             const long long* starts, double* slab) {
    typename Tile::Ring ring;
    const auto* const work = Tile::prepare(&ring, 1, tile_row, tile_column, tiles, starts);
    if (threadIdx.x / warpgroup_threads == Tile::multiplying) {
      give_registers<56>();
      if (threadIdx.x % warpgroup_threads == 0) fill(ring, *work, packed, plane_stride, padded);
    } else {
      take_registers<Tile::taken>();
      Tile::sum_chains(ring, work, slab + (long long)blockIdx.x * (Tile::side * Tile::side));
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
  extern "C" __global__ void __launch_bounds__((featdiv::GramPacked<__VA_ARGS__>::Tile::threads), 1)                \
      name(const void* planes, long long plane_stride, int padded, const int* tile_row, const int* tile_column,     \
           int tiles, const long long* starts, double* slab) {                                                      \
    featdiv::GramPacked<__VA_ARGS__>::run(planes, plane_stride, padded, tile_row, tile_column, tiles, starts, slab); \
  }

FEATDIV_GRAM_SM90(gram_sm90_bfloat16_6, featdiv::BFloat16Warpgroup, 6, 32, 4)
FEATDIV_GRAM_SM90(gram_sm90_bfloat16_3, featdiv::BFloat16Warpgroup, 3, 64, 3)
FEATDIV_GRAM_SM90(gram_sm90_bfloat16_1, featdiv::BFloat16Warpgroup, 1, 64, 6)
FEATDIV_GRAM_SM90(gram_sm90_float16_1, featdiv::Float16Warpgroup, 1, 64, 6)

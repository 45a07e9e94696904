// Small kernels for the test of the emulator: what each of its parts must do, and faults that it must find.
#include "../../../../csrc/cuda/units_sm90.cuh"

// Sums of 64 numbers by a tree in shared memory; without `wait`, its last steps race.
__device__ void tree(const double* in, double* out, bool wait) {
  __shared__ double part[64];
  part[threadIdx.x] = in[blockIdx.x * 64 + threadIdx.x];
  __syncthreads();
  for (int half = 32; half; half /= 2) {
    if (threadIdx.x < half) part[threadIdx.x] += part[threadIdx.x + half];
    if (wait) __syncthreads();
  }
  if (!wait) __syncthreads();
  if (threadIdx.x == 0) out[blockIdx.x] = part[0];
}

extern "C" __global__ void __launch_bounds__(64) sum_tree(const double* in, double* out) { tree(in, out, true); }

extern "C" __global__ void __launch_bounds__(64) sum_race(const double* in, double* out) { tree(in, out, false); }

extern "C" __global__ void unset_shared(double* out) {
  __shared__ double part[32];
  out[threadIdx.x] = part[threadIdx.x] + reinterpret_cast<double*>(featdiv::dynamic_shared())[threadIdx.x];
}

extern "C" __global__ void half_a_barrier(double* out) {
  if (threadIdx.x < 16) __syncthreads();
  out[threadIdx.x] = 1.0;
}

extern "C" __global__ void two_barriers(double* out) {
  if (threadIdx.x < 16) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[threadIdx.x] = 1.0;
}

extern "C" __global__ void shuffles(int* out) {
  const int lane = threadIdx.x % 32;
  int sum = lane;
  for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  out[threadIdx.x] = sum + 1000 * __shfl_sync(0xffffffffu, lane, 3) + 100000 * (__ballot_sync(0xffffffffu, lane < 5) == 31u);
}

extern "C" __global__ void tickets(unsigned* counter, int* out) { out[blockIdx.x * 32 + threadIdx.x] = int(atomicAdd(counter, 1u)); }

// out (16, 8) = a (16, 16) b (16, 8); a comes transposed, as (k, i), through the asynchronous copy.
template <bool half>
__device__ void product(const unsigned short* a, const unsigned short* b, float* out, bool wait) {
  unsigned short* const left = reinterpret_cast<unsigned short*>(featdiv::dynamic_shared());
  unsigned short* const right = left + 256;
  const int lane = threadIdx.x;
  featdiv::copy_async(left + 8 * lane, a + 8 * lane);
  if (lane < 16) featdiv::copy_async(right + 8 * lane, b + 8 * lane);
  featdiv::copy_commit();
  if (wait) featdiv::copy_wait<0>();
  __syncthreads();
  unsigned fragment[4], other[4];
  featdiv::load_matrices_transposed(fragment, left + (lane % 8 + lane / 16 * 8) * 16 + lane / 8 % 2 * 8);
  featdiv::load_matrices_transposed(other, right + (lane % 16) * 8);
  float c[4] = {0, 0, 0, 0};
  if (half) featdiv::multiply_float16(c, fragment, other[0], other[1]);
  else featdiv::multiply_bfloat16(c, fragment, other[0], other[1]);
  for (int r = 0; r < 4; ++r) out[(lane / 4 + r / 2 * 8) * 8 + lane % 4 * 2 + r % 2] = c[r];
}

extern "C" __global__ void product_bfloat16(const unsigned short* a, const unsigned short* b, float* out) {
  product<false>(a, b, out, true);
}

extern "C" __global__ void product_float16(const unsigned short* a, const unsigned short* b, float* out) {
  product<true>(a, b, out, true);
}

extern "C" __global__ void product_too_early(const unsigned short* a, const unsigned short* b, float* out) {
  product<false>(a, b, out, false);
}

// out (8, 8) = a (8, 4) b (4, 8) in float64.
extern "C" __global__ void product_float64(const double* a, const double* b, double* out) {
  const int lane = threadIdx.x;
  double c[2] = {0, 0};
  featdiv::multiply_float64(c, a[lane], b[lane % 4 * 8 + lane / 4]);
  out[lane / 4 * 8 + lane % 4 * 2] = c[0];
  out[lane / 4 * 8 + lane % 4 * 2 + 1] = c[1];
}

extern "C" __global__ void misaligned(unsigned short* out) {
  unsigned r[4];
  featdiv::load_matrices(r, featdiv::dynamic_shared() + 2 * threadIdx.x);
  out[threadIdx.x] = (unsigned short)r[0];
}

extern "C" __global__ void one_too_far(double* out, long long n) {
  if (threadIdx.x <= n) out[threadIdx.x] = 1.0;
}

extern "C" __global__ void one_too_early(double* out) { out[int(threadIdx.x) - 1] = 1.0; }

extern "C" __global__ void one_too_far_shared(double* out) {
  double* const part = reinterpret_cast<double*>(featdiv::dynamic_shared());
  part[threadIdx.x] = 1.0;
  __syncthreads();
  out[threadIdx.x] = part[threadIdx.x + 1];
}

// What a warpgroup may get wrong.
enum WarpgroupFault : int {
  none, no_begin, no_commit, no_wait, invisible_barrier, other_parity, too_many_bytes, warps_differ, lanes_differ,
  second_arrival, misaligned_copy, out_of_bounds, prepared_nowhere, store_unseen, misaligned_store
};

// out (64, 128) = a b of 16 rows whose 64 and 128 features lie side by side in memory as `descriptor` (without an
// address) says; `bytes` of a, then as many as there are of b. Shared memory is used from a multiple of 1024 on.
extern "C" __global__ void product_of_a_warpgroup(const unsigned short* operands, int a_bytes, int b_bytes,
                                                  long long descriptor, int start, int fault, float* out) {
  const unsigned window = featdiv::shared_address(featdiv::dynamic_shared()), begin = (window + 1023) / 1024 * 1024;
  const unsigned barrier = begin, a = begin + 1024, b = a + (a_bytes + 1023) / 1024 * 1024;
  if (threadIdx.x == 0) {
    if (fault != prepared_nowhere) featdiv::barrier_prepare(barrier, 1);
    if (fault != invisible_barrier) featdiv::barriers_prepared();
    featdiv::barrier_announce(barrier, a_bytes + b_bytes + (fault == too_many_bytes ? 16 : 0));
    if (fault == second_arrival) featdiv::barrier_arrive(barrier);
    featdiv::copy_bulk(fault == misaligned_copy ? a + 8 : a, operands, a_bytes, barrier);
    featdiv::copy_bulk(fault == out_of_bounds ? b + (1 << 16) : b, operands + a_bytes / 2, b_bytes, barrier);
  }
  __syncthreads();
  featdiv::barrier_wait(barrier, fault == other_parity);
  if (fault == store_unseen || fault == misaligned_store) {
    featdiv::store_operand(fault == misaligned_store ? a + 4 : a, 0, 0);
  }
  float c[64] = {};
  if (fault != no_begin) featdiv::products_begin();
  unsigned at = a + start;
  if (fault == warps_differ && threadIdx.x >= 96) at += 1024;
  if (fault == lanes_differ && threadIdx.x % 32 == 31) at += 1024;
  featdiv::multiply_warpgroup_bfloat16<true>(c, descriptor | at >> 4, descriptor | b >> 4);
  if (fault != no_commit) featdiv::products_commit();
  if (fault != no_wait) featdiv::products_wait(c);
  const int row = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
  for (int e = 0; e < 64; ++e) out[(row + e / 2 % 2 * 8) * 128 + column + e / 4 * 8 + e % 2] = c[e];
}

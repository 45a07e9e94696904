// Small kernels for the test of the emulator: what each of its parts must do, and faults that it must find.
#include "../../../../csrc/cuda/units.cuh"

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

// Eigenvalues of a batch of symmetric float64 matrices: one block of threads for each matrix at a time.
//
// Compiled by NVRTC, and by nvcc: no header of the toolkit is needed. Matrices stay in global memory, which the caches
// of a multiprocessor hold for the sizes that this is for (d <= 256). `failed` gets 1 + the number of a matrix that did
// not converge. Sums are taken in a fixed order: a matrix does not depend on its batch.
#include "../core/jacobi.h"

constexpr int eigvals_threads = 256;
constexpr int eigvals_most_features = 256;

namespace {

// The sum or maximum over the block, the same in every thread.
__device__ double over_block(double own, bool maximum, double* shared) {
  shared[threadIdx.x] = own;
  __syncthreads();
  for (int half = eigvals_threads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) {
      const double other = shared[threadIdx.x + half];
      shared[threadIdx.x] = maximum ? fmax(shared[threadIdx.x], other) : shared[threadIdx.x] + other;
    }
    __syncthreads();
  }
  const double result = shared[0];
  __syncthreads();
  return result;
}

}  // namespace

extern "C" __global__ void __launch_bounds__(eigvals_threads, 2)
    eigvals_batched(const double* matrices, long long batch, int d, double* work, double* rotated, double* values,
                    double* vectors, long long* failed) {
  __shared__ featdiv::Rotation rotations[eigvals_most_features / 2];
  __shared__ double shared[eigvals_threads];
  const int thread = threadIdx.x, threads = eigvals_threads;
  const long long size = (long long)d * d;
  for (long long b = blockIdx.x; b < batch; b += gridDim.x) {
    const double* const in = matrices + b * size;
    double* const a = work + blockIdx.x * size;
    double* const v = rotated ? rotated + blockIdx.x * size : nullptr;
    int exponent = 0;
    const double largest = over_block(featdiv::jacobi_largest(in, d, thread, threads), true, shared);
    if (largest > 0.0) exponent = ilogb(largest) + 1;
    featdiv::jacobi_start(in, d, exponent, a, v, thread, threads);
    __syncthreads();
    const double all = over_block(featdiv::jacobi_squares(a, d, 1, thread, threads), false, shared);
    const double limit = featdiv::jacobi_epsilon * sqrt(all) / d;
    bool done = false;
    for (int sweep = 0; sweep < featdiv::jacobi_sweeps && !done; ++sweep) {
      const double off = over_block(featdiv::jacobi_squares(a, d, 0, thread, threads), false, shared);
      done = sqrt(off) <= limit;
      for (int round = 0; round < d + d % 2 - 1 && !done; ++round) {
        featdiv::jacobi_angles(a, d, round, rotations, thread, threads);
        __syncthreads();
        featdiv::jacobi_rows(a, d, rotations, thread, threads);
        __syncthreads();
        featdiv::jacobi_columns(a, v, d, rotations, thread, threads);
        __syncthreads();
      }
    }
    if (!done && thread == 0) *failed = b + 1;
    featdiv::jacobi_finish(a, v, d, exponent, values + b * d, vectors + (v ? b * size : 0), thread, threads);
    __syncthreads();
  }
}

// Matrix units and asynchronous copies of compute capability 8.0 as functions of one warp: all that is written in PTX.
//
// Fragments of m16n8k16, for lane l with row g = l / 4 and pair p = 2 (l % 4), two 16-bit numbers to a register:
//   a[0] = A(g, p..p+1)  a[1] = A(g + 8, p..)  a[2] = A(g, p + 8..)  a[3] = A(g + 8, p + 8..)
//   b[0] = B(p..p+1, g)  b[1] = B(p + 8.., g)
//   c[0], c[1] = C(g, p..p+1)  c[2], c[3] = C(g + 8, p..p+1)
// and of m8n8k4: a = A(g, l % 4), b = B(l % 4, g), c[0], c[1] = C(g, p..p+1).
//
// A test that plays kernels on a host brings functions of its own (FEATDIV_ON_HOST).
#pragma once

#ifndef FEATDIV_ON_HOST

namespace featdiv {

// Memory of the block whose size is given at launch; aligned for vectors of 16 bytes.
__device__ __forceinline__ unsigned char* dynamic_shared() {
  extern __shared__ __align__(128) unsigned char featdiv_shared[];
  return featdiv_shared;
}

__device__ __forceinline__ unsigned shared_address(const void* p) { return unsigned(__cvta_generic_to_shared(p)); }

// Four 8 x 8 matrices of 16-bit numbers: lane l gives the address of row l % 8 of matrix l / 8, 16 bytes aligned to 16,
// and gets entries p and p + 1 of row g of each matrix.
__device__ __forceinline__ void load_matrices(unsigned (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

// The same of the transposed matrices: entries g of rows p and p + 1.
__device__ __forceinline__ void load_matrices_transposed(unsigned (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

// c += A B of bfloat16 numbers, summed in float32 and rounded towards zero.
__device__ __forceinline__ void multiply_bfloat16(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// The same of float16 numbers.
__device__ __forceinline__ void multiply_float16(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// c += A B in float64, m8n8k4.
__device__ __forceinline__ void multiply_float64(double (&c)[2], double a, double b) {
  asm volatile("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0, %1}, {%2}, {%3}, {%0, %1};"
               : "+d"(c[0]), "+d"(c[1])
               : "d"(a), "d"(b));
}

// Starts a copy of 16 bytes from global to shared memory, both aligned to 16.
__device__ __forceinline__ void copy_async(void* shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(shared)), "l"(global) : "memory");
}

// Ends a group of copies; a group may be empty.
__device__ __forceinline__ void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits for all groups of this thread but the latest `left`. Copies of other threads want a barrier after it.
template <int left>
__device__ __forceinline__ void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
}

}  // namespace featdiv

#endif

// What compute capability 9.0 has beside units.cuh, in PTX: products of a warpgroup, bulk copies, barriers in memory.
//
// A warpgroup is four warps, the first of which has a number divisible by four. Its product m64n128k16 reads both
// operands from shared memory and adds to 64 numbers of each thread: entry e of lane l of warp w is C(i, j) with
//   i = 16 (w % 4) + l / 4 + 8 (e / 2 % 2)   j = 8 (e / 4) + 2 (l % 4) + e % 2.
// Shared memory is named by its address in the window of `shared_address`. All this wants sm_90a; code for other targets
// has FEATDIV_SM90 undefined.
//
// A test that plays kernels on a host brings functions of its own (FEATDIV_ON_HOST).
#pragma once

#include "units.cuh"

#if defined(FEATDIV_ON_HOST) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define FEATDIV_SM90 1
#endif

namespace featdiv {

constexpr int warpgroup_threads = 128;
constexpr int warpgroup_entries = 64;  // of the sums of one thread
constexpr int barrier_bytes = 8;       // aligned to them
constexpr int swizzle_bytes = 1024;    // what is permuted: 8 rows of 128 bytes, aligned to their size

// Bits 0-13 of a descriptor: address / 16; 16-29: bytes / 16 from a group of 64 features to the next; 32-45: bytes / 16
// from 8 rows to the next; 62-63: 1, units of 16 bytes in rows of 128 are permuted by row % 8.
__device__ __forceinline__ unsigned long long matrix_descriptor(unsigned address, int group_bytes) {
  return (unsigned long long)(address >> 4) | (unsigned long long)(group_bytes >> 4) << 16 |
         (unsigned long long)(swizzle_bytes >> 4) << 32 | 1ull << 62;
}

// The descriptor of what lies `bytes` further on.
__device__ __forceinline__ unsigned long long matrix_behind(unsigned long long descriptor, int bytes) {
  return descriptor + (unsigned)(bytes >> 4);
}

__device__ __forceinline__ float low_bfloat16(unsigned pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float high_bfloat16(unsigned pair) { return __uint_as_float(pair & 0xffff0000u); }

#ifndef FEATDIV_ON_HOST

#ifdef FEATDIV_SM90

// Prepares a barrier for phases that end with `arrivals` arrivals and all bytes that were announced.
__device__ __forceinline__ void barrier_prepare(unsigned barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

// Lets bulk copies see barriers that this thread prepared.
__device__ __forceinline__ void barriers_prepared() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ __forceinline__ void barrier_arrive(unsigned barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// Arrives, and announces bytes that bulk copies bring.
__device__ __forceinline__ void barrier_announce(unsigned barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}

__device__ __forceinline__ bool barrier_passed(unsigned barrier, unsigned parity) {
  unsigned passed;
  asm volatile(
      "{\n.reg .pred p;\n"
      "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
      "selp.u32 %0, 1, 0, p;\n}"
      : "=r"(passed)
      : "r"(barrier), "r"(parity)
      : "memory");
  return passed;
}

// Of units of 2^32 ns.
__device__ __forceinline__ unsigned time_passed() {
  unsigned time;
  asm volatile("mov.u32 %0, %%globaltimer_hi;" : "=r"(time));
  return time;
}

// Waits until the phase of this parity has ended. A barrier that never comes ends the kernel with an error, not a hang.
__device__ __forceinline__ void barrier_wait(unsigned barrier, unsigned parity) {
  if (barrier_passed(barrier, parity)) return;
  const unsigned start = time_passed();
  while (!barrier_passed(barrier, parity)) {
    if (time_passed() - start > 10) __trap();
  }
}

// Starts to copy bytes, a multiple of 16, from global to shared memory, both aligned to 16; they count towards the phase
// of a barrier when they have come.
__device__ __forceinline__ void copy_bulk(unsigned shared, const void* global, int bytes, unsigned barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   shared),
               "l"(global), "r"(bytes), "r"(barrier)
               : "memory");
}

// Stores four numbers of 16 bits that products read, at a multiple of 8 bytes.
__device__ __forceinline__ void store_operand(unsigned shared, unsigned first, unsigned second) {
  asm volatile("st.shared.v2.b32 [%0], {%1, %2};" ::"r"(shared), "r"(first), "r"(second) : "memory");
}

// Lets products see what this thread stored, once a barrier has told them of it.
__device__ __forceinline__ void operands_stored() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Registers of each thread of this warpgroup from here on, fewer or more than it began with.
template <int count>
__device__ __forceinline__ void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}
template <int count>
__device__ __forceinline__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}

// The nearest bfloat16 numbers, the first in the lower bits.
__device__ __forceinline__ unsigned pair_of_bfloat16(float low, float high) {
  unsigned pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

// What the compiler cannot know beforehand.
__device__ __forceinline__ bool is_positive(int x) {
  asm volatile("" : "+r"(x));
  return x > 0;
}

// Before the first product after sums were touched.
__device__ __forceinline__ void products_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// Ends a group of products.
__device__ __forceinline__ void products_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

#define FEATDIV_SUMS(as, c)                                                                                            \
  as(c[0]), as(c[1]), as(c[2]), as(c[3]), as(c[4]), as(c[5]), as(c[6]), as(c[7]), as(c[8]), as(c[9]), as(c[10]),       \
  as(c[11]), as(c[12]), as(c[13]), as(c[14]), as(c[15]), as(c[16]), as(c[17]), as(c[18]), as(c[19]), as(c[20]),        \
  as(c[21]), as(c[22]), as(c[23]), as(c[24]), as(c[25]), as(c[26]), as(c[27]), as(c[28]), as(c[29]), as(c[30]),        \
  as(c[31]), as(c[32]), as(c[33]), as(c[34]), as(c[35]), as(c[36]), as(c[37]), as(c[38]), as(c[39]), as(c[40]),        \
  as(c[41]), as(c[42]), as(c[43]), as(c[44]), as(c[45]), as(c[46]), as(c[47]), as(c[48]), as(c[49]), as(c[50]),        \
  as(c[51]), as(c[52]), as(c[53]), as(c[54]), as(c[55]), as(c[56]), as(c[57]), as(c[58]), as(c[59]), as(c[60]),        \
  as(c[61]), as(c[62]), as(c[63])

// Waits for all groups of this warp; only then may sums be read, which the operands tell the compiler.
__device__ __forceinline__ void products_wait(float (&c)[warpgroup_entries]) {
  asm volatile("wgmma.wait_group.sync.aligned 0;" : FEATDIV_SUMS("+f", c)::"memory");
}

// The last 1, 1: features of both operands lie side by side in memory.
#define FEATDIV_WARPGROUP_PRODUCT(type, as, c, a, b, add)                                                              \
  asm volatile(                                                                                                        \
      "{\n.reg .pred p;\nsetp.ne.b32 p, %66, 0;\n"                                                                     \
      "wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type " {"                                                \
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, "                     \
      "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, "                     \
      "%38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, "                     \
      "%56, %57, %58, %59, %60, %61, %62, %63}, "                                                                      \
      "%64, %65, p, 1, 1, 1, 1;\n}"                                                                                    \
      : FEATDIV_SUMS(as, c)                                                                                            \
      : "l"(a), "l"(b), "n"(add))

// Starts c = A B, or c += A B where `add`.
template <bool add>
__device__ __forceinline__ void multiply_warpgroup_bfloat16(float (&c)[warpgroup_entries], unsigned long long a,
                                                            unsigned long long b) {
  // What is not added to need not exist before.
  if constexpr (add) FEATDIV_WARPGROUP_PRODUCT("bf16", "+f", c, a, b, 1);
  else FEATDIV_WARPGROUP_PRODUCT("bf16", "=f", c, a, b, 0);
}

// The same of float16 numbers.
template <bool add>
__device__ __forceinline__ void multiply_warpgroup_float16(float (&c)[warpgroup_entries], unsigned long long a,
                                                           unsigned long long b) {
  if constexpr (add) FEATDIV_WARPGROUP_PRODUCT("f16", "+f", c, a, b, 1);
  else FEATDIV_WARPGROUP_PRODUCT("f16", "=f", c, a, b, 0);
}

#endif
#endif

}  // namespace featdiv

// Atomics, bit patterns and vectors of CUDA; included by cuda_on_host.h.
#pragma once

// Integers only: the order in which floating-point atomics arrive would change results.
template <class T, class U>
T atomicAdd(T* at, U value) {
  static_assert(std::is_integral_v<T>, "no floating-point atomics");
  const T before = *at;
  *at = T(before + T(value));
  return before;
}
template <class T, class U>
T atomicMax(T* at, U value) {
  static_assert(std::is_integral_v<T>, "no floating-point atomics");
  const T before = *at;
  *at = std::max(before, T(value));
  return before;
}
template <class T, class U>
T atomicMin(T* at, U value) {
  static_assert(std::is_integral_v<T>, "no floating-point atomics");
  const T before = *at;
  *at = std::min(before, T(value));
  return before;
}
template <class T, class U, class V>
T atomicCAS(T* at, U expected, V value) {
  const T before = *at;
  if (before == T(expected)) *at = T(value);
  return before;
}

template <class To, class From>
To emulator_bits(From value) {
  static_assert(sizeof(To) == sizeof(From));
  To result;
  memcpy(&result, &value, sizeof result);
  return result;
}
inline unsigned __float_as_uint(float x) { return emulator_bits<unsigned>(x); }
inline int __float_as_int(float x) { return emulator_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return emulator_bits<float>(x); }
inline float __int_as_float(int x) { return emulator_bits<float>(x); }
inline long long __double_as_longlong(double x) { return emulator_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return emulator_bits<double>(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline void __threadfence() {}
template <class T>
T __ldg(const T* at) {
  return *at;
}
using std::max;
using std::min;

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

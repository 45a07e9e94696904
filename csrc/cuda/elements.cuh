// Elements of rows as they are stored, and numbers as sums of bfloat16 terms.
#pragma once

namespace featdiv {

// The order is part of the interface with Python (`ELEMENTS` in featdiv/ops/_cuda_moments.py).
enum Element : int { f64, f32, f16, bf16, i8, i16, i32, i64, u8 };

struct Half {
  unsigned short bits;
};
struct BFloat {
  unsigned short bits;
};

__device__ __forceinline__ float to_float(Half x) {
  const unsigned magnitude = (x.bits & 0x7fffu) << 13;
  // Multiplying by 2^112 moves the exponent bias from 15 to 127 and turns float16 denormals into normal floats.
  unsigned bits = __float_as_uint(__uint_as_float(magnitude) * 0x1p112f);
  if ((x.bits & 0x7c00u) == 0x7c00u) bits = magnitude | 0x7f800000u;
  return __uint_as_float(bits | (x.bits & 0x8000u) << 16);
}
__device__ __forceinline__ float to_float(BFloat x) { return __uint_as_float((unsigned)x.bits << 16); }
template <class T>
__device__ __forceinline__ float to_float(T x) {
  return float(x);
}

__device__ __forceinline__ double to_double(Half x) { return to_float(x); }
__device__ __forceinline__ double to_double(BFloat x) { return to_float(x); }
template <class T>
__device__ __forceinline__ double to_double(T x) {
  return double(x);
}

// Calls f with a value of the element's type; all threads of a block take the same way.
template <class F>
__device__ __forceinline__ void with_element(int element, F&& f) {
  switch (element) {
    case f64: return f(double{});
    case f32: return f(float{});
    case f16: return f(Half{});
    case bf16: return f(BFloat{});
    case i8: return f((signed char)0);
    case i16: return f(short{});
    case i32: return f(int{});
    case i64: return f((long long)0);
    case u8: return f((unsigned char)0);
  }
}

// The nearest bfloat16, ties to even; a NaN stays one.
__device__ __forceinline__ unsigned short nearest_bfloat16(float x) {
  const unsigned bits = __float_as_uint(x);
  if (x != x) return (unsigned short)(bits >> 16 | 0x40u);
  return (unsigned short)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

}  // namespace featdiv

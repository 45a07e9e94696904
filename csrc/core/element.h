// Element types of rows, and how each becomes a vector of floats or doubles. Every conversion is exact, except that
// 64-bit integers round to the nearest double.
#pragma once

#include "vec.h"

namespace featdiv {

// The order is part of the interface with Python (`ELEMENTS` in featdiv/ops/_native.py).
enum class Element : int { f64, f32, f16, bf16, i8, i16, i32, i64, u8, u16, u32, u64, count };

constexpr int element_size[] = {8, 4, 2, 2, 1, 2, 4, 8, 1, 2, 4, 8};

struct Half {
  uint16_t bits;
};
struct BFloat {
  uint16_t bits;
};

// Elements that a float holds exactly: their differences with a float32 shift round once.
constexpr bool fits_float(Element e) {
  return e == Element::f32 || e == Element::f16 || e == Element::bf16 || e == Element::i8 || e == Element::i16 ||
         e == Element::u8 || e == Element::u16;
}

template <int N>
FEATDIV_INLINE Vec<float, N> half_to_float(Vec<uint16_t, N> h) {
#if defined(__AVX512F__)
  if constexpr (N == 16) {
    __m256i raw;
    memcpy(&raw, &h, sizeof raw);
    return (Vec<float, N>)_mm512_maskz_cvtph_ps(0xffff, raw);
  }
#endif
#if defined(__F16C__) || defined(__AVX512F__)
  if constexpr (N == 8) {
    __m128i raw;
    memcpy(&raw, &h, sizeof raw);
    return (Vec<float, N>)_mm256_cvtph_ps(raw);
  }
#endif
#if defined(__aarch64__)
  if constexpr (N == 4 || N == 2) {
    uint16x4_t raw = {};
    memcpy(&raw, &h, sizeof h);
    const float32x4_t all = vcvt_f32_f16(vreinterpret_f16_u16(raw));
    Vec<float, N> first;
    memcpy(&first, &all, sizeof first);
    return first;
  }
#endif
  using U = Vec<uint32_t, N>;
  const U wide = __builtin_convertvector(h, U);
  const U magnitude = (wide & 0x7fffu) << 13;
  // Multiplying by 2^112 moves the exponent bias from 15 to 127 and turns float16 denormals into normal floats.
  const Vec<float, N> scaled = (Vec<float, N>)magnitude * 0x1p112f;
  const U special = (U)((wide & 0x7c00u) == 0x7c00u);
  const U bits = ((U)scaled & ~special) | ((magnitude | 0x7f800000u) & special);
  return (Vec<float, N>)(bits | ((wide & 0x8000u) << 16));
}

// N consecutive elements at p, which need not be aligned, as T.
template <class T, int N, class Src>
FEATDIV_INLINE Vec<T, N> widen(const char* p) {
  if constexpr (__is_same(Src, Half)) {
    Vec<uint16_t, N> raw;
    memcpy(&raw, p, sizeof raw);
    return __builtin_convertvector(half_to_float<N>(raw), Vec<T, N>);
  } else if constexpr (__is_same(Src, BFloat)) {
    Vec<uint16_t, N> raw;
    memcpy(&raw, p, sizeof raw);
    const auto bits = __builtin_convertvector(raw, Vec<uint32_t, N>) << 16;
    return __builtin_convertvector((Vec<float, N>)bits, Vec<T, N>);
  } else {
    Vec<Src, N> raw;
    memcpy(&raw, p, sizeof raw);
    return __builtin_convertvector(raw, Vec<T, N>);
  }
}

// Calls f with a value of the element's C++ type.
template <class F>
FEATDIV_INLINE void with_element(Element e, F&& f) {
  switch (e) {
    case Element::f64: return f(double{});
    case Element::f32: return f(float{});
    case Element::f16: return f(Half{});
    case Element::bf16: return f(BFloat{});
    case Element::i8: return f(int8_t{});
    case Element::i16: return f(int16_t{});
    case Element::i32: return f(int32_t{});
    case Element::i64: return f(int64_t{});
    case Element::u8: return f(uint8_t{});
    case Element::u16: return f(uint16_t{});
    case Element::u32: return f(uint32_t{});
    case Element::u64: return f(uint64_t{});
    case Element::count: return;
  }
}

}  // namespace featdiv

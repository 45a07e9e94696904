// Square blocks turned over their diagonal.
#pragma once

#include "vec.h"

namespace featdiv {

// to[j][i] = from[i][j], sixteen by sixteen values of 32 bits.
FEATDIV_INLINE void transpose_16(const void* from, void* to) {
  char* const out = static_cast<char*>(to);
#if defined(__AVX512F__)
  __m512i a[16], b[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) a[i] = _mm512_loadu_si512(static_cast<const char*>(from) + 64 * i);
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_maskz_unpacklo_epi32(0xffff, a[i], a[i + 1]);
    b[i + 1] = _mm512_maskz_unpackhi_epi32(0xffff, a[i], a[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    a[i] = _mm512_maskz_unpacklo_epi64(0xff, b[i], b[i + 2]);
    a[i + 1] = _mm512_maskz_unpackhi_epi64(0xff, b[i], b[i + 2]);
    a[i + 2] = _mm512_maskz_unpacklo_epi64(0xff, b[i + 1], b[i + 3]);
    a[i + 3] = _mm512_maskz_unpackhi_epi64(0xff, b[i + 1], b[i + 3]);
  }
  // a[4 g + j] holds, in lane h, column 4 h + j of rows 4 g ... 4 g + 3.
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512i low_even = _mm512_maskz_shuffle_i32x4(0xffff, a[j], a[4 + j], 0x88);
    const __m512i low_odd = _mm512_maskz_shuffle_i32x4(0xffff, a[j], a[4 + j], 0xdd);
    const __m512i high_even = _mm512_maskz_shuffle_i32x4(0xffff, a[8 + j], a[12 + j], 0x88);
    const __m512i high_odd = _mm512_maskz_shuffle_i32x4(0xffff, a[8 + j], a[12 + j], 0xdd);
    _mm512_storeu_si512(out + 64 * j, _mm512_maskz_shuffle_i32x4(0xffff, low_even, high_even, 0x88));
    _mm512_storeu_si512(out + 64 * (4 + j), _mm512_maskz_shuffle_i32x4(0xffff, low_odd, high_odd, 0x88));
    _mm512_storeu_si512(out + 64 * (8 + j), _mm512_maskz_shuffle_i32x4(0xffff, low_even, high_even, 0xdd));
    _mm512_storeu_si512(out + 64 * (12 + j), _mm512_maskz_shuffle_i32x4(0xffff, low_odd, high_odd, 0xdd));
  }
#else
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j)
      memcpy(out + 64 * j + 4 * i, static_cast<const char*>(from) + 64 * i + 4 * j, 4);
#endif
}

// The same of eight by eight doubles.
FEATDIV_INLINE void transpose_8(const double* from, double* to) {
#if defined(__AVX512F__)
  __m512d a[8], b[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) a[i] = _mm512_loadu_pd(from + 8 * i);
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    b[i] = _mm512_maskz_unpacklo_pd(0xff, a[i], a[i + 1]);
    b[i + 1] = _mm512_maskz_unpackhi_pd(0xff, a[i], a[i + 1]);
  }
  // b[2 g + j] holds, in lanes 2 h and 2 h + 1, column 2 h + j of rows 2 g and 2 g + 1.
#pragma GCC unroll 2
  for (int j = 0; j < 2; ++j) {
    const __m512d low_even = _mm512_maskz_shuffle_f64x2(0xff, b[j], b[2 + j], 0x88);
    const __m512d low_odd = _mm512_maskz_shuffle_f64x2(0xff, b[j], b[2 + j], 0xdd);
    const __m512d high_even = _mm512_maskz_shuffle_f64x2(0xff, b[4 + j], b[6 + j], 0x88);
    const __m512d high_odd = _mm512_maskz_shuffle_f64x2(0xff, b[4 + j], b[6 + j], 0xdd);
    _mm512_storeu_pd(to + 8 * j, _mm512_maskz_shuffle_f64x2(0xff, low_even, high_even, 0x88));
    _mm512_storeu_pd(to + 8 * (2 + j), _mm512_maskz_shuffle_f64x2(0xff, low_odd, high_odd, 0x88));
    _mm512_storeu_pd(to + 8 * (4 + j), _mm512_maskz_shuffle_f64x2(0xff, low_even, high_even, 0xdd));
    _mm512_storeu_pd(to + 8 * (6 + j), _mm512_maskz_shuffle_f64x2(0xff, low_odd, high_odd, 0xdd));
  }
#else
  for (int i = 0; i < 8; ++i)
    for (int j = 0; j < 8; ++j) to[8 * j + i] = from[8 * i + j];
#endif
}

}  // namespace featdiv

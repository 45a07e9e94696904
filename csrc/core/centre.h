// The end of a scatter: sums about a shift become the symmetric matrix about the mean, written once.
#pragma once

#include "vec.h"

namespace featdiv {

// A 64-byte line of results, past the caches where the machine can: what is written here is not read again soon, and
// fetching lines only to overwrite them would cost as much as writing them.
template <class Out>
FEATDIV_INLINE void stream_line(Out* to, const Out* line) {
#if defined(__AVX512F__)
  __m512i whole;
  memcpy(&whole, line, 64);
  _mm512_stream_si512(reinterpret_cast<__m512i*>(to), whole);
#elif defined(__SSE2__)
  for (int part = 0; part < 4; ++part) {
    __m128i quarter;
    memcpy(&quarter, reinterpret_cast<const char*>(line) + 16 * part, 16);
    _mm_stream_si128(reinterpret_cast<__m128i*>(to) + part, quarter);
  }
#else
  memcpy(to, line, 64);
#endif
}

// out[i][j] = out[j][i] = gram[i][j] - total[i] total[j] / n for j >= i, and a diagonal of no less than zero: rounding
// may leave a hair below it where a class has collapsed. `gram` holds the upper triangle; both are (d, d), row-major.
template <class Isa, class Out>
void centre_scatter(int64_t n, int64_t d, const double* total, const double* gram, Out* out) {
  // Square blocks, whose rows are lines of the result both as they stand and mirrored.
  constexpr int L = 64 / int(sizeof(Out));
  const bool lines = d % L == 0 && reinterpret_cast<uintptr_t>(out) % 64 == 0;
  alignas(64) Out block[L][L], mirrored[L][L];
  for (int64_t i0 = 0; i0 < d; i0 += L) {
    const int rows = int(d - i0 < L ? d - i0 : L);
    for (int64_t j0 = i0; j0 < d; j0 += L) {
      const int columns = int(d - j0 < L ? d - j0 : L);
      for (int i = 0; i < rows; ++i) {
        const double share = total[i0 + i] / double(n);
        const double* row = gram + (i0 + i) * d + j0;
        if (columns == L) {
          for (int j = 0; j < L; ++j) block[i][j] = Out(row[j] - share * total[j0 + j]);
        } else {
          for (int j = 0; j < columns; ++j) block[i][j] = Out(row[j] - share * total[j0 + j]);
        }
      }
      if (i0 == j0) {
        for (int i = 0; i < rows; ++i) {
          block[i][i] = block[i][i] > Out(0) ? block[i][i] : Out(0);
          for (int j = 0; j < i; ++j) block[i][j] = block[j][i];
        }
      } else {
        for (int i = 0; i < L; ++i)
          for (int j = 0; j < L; ++j) mirrored[j][i] = block[i][j];
        for (int j = 0; j < columns; ++j) {
          Out* to = out + (j0 + j) * d + i0;
          if (lines) stream_line(to, mirrored[j]);
          else memcpy(to, mirrored[j], size_t(rows) * sizeof(Out));
        }
      }
      for (int i = 0; i < rows; ++i) {
        Out* to = out + (i0 + i) * d + j0;
        if (lines) stream_line(to, block[i]);
        else memcpy(to, block[i], size_t(columns) * sizeof(Out));
      }
    }
  }
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace featdiv

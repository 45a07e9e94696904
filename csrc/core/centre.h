// The end of a scatter: sums about a shift become the symmetric matrix about the mean, written once.
#pragma once

#include "transpose.h"

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

// What a scatter about the mean is made of besides sums about a shift, and where it goes.
struct Centring {
  int64_t d;            // features
  const double* total;  // [d] sums of the columns about the shift
  double* mean;         // [d] out: these over the number of rows
  void* scatter;        // [d, d] out, both triangles
  bool narrow;          // of floats; else of doubles

  // Once all n rows are in `total`.
  void take_means(int64_t n) const {
    for (int64_t j = 0; j < d; ++j) mean[j] = total[j] / double(n);
  }
};

// A part of the sums of products about the shift: sums[i stride + j] is that of features i0 + i and j0 + j. On the
// diagonal, where i0 = j0, entries j >= i alone are read.
template <class In>
struct PartOfSums {
  const In* sums;
  int64_t stride;
  int64_t i0, j0;
  int64_t rows, columns;
};

template <class In>
FEATDIV_INLINE PartOfSums<In> part_of_sums(const In* sums, int64_t stride, int64_t i0, int64_t j0, int64_t rows,
                                           int64_t columns) {
  return {sums, stride, i0, j0, rows, columns};
}

// scatter[i][j] = scatter[j][i] = sums[i][j] - mean[i] total[j] for a part of up to one line of results each way, and
// a diagonal of no less than zero: rounding may leave a hair below it where a class has collapsed.
template <class Out, class In>
FEATDIV_INLINE void centre_lines(const Centring& c, const PartOfSums<In>& part) {
  constexpr int L = 64 / int(sizeof(Out));
  alignas(64) Out block[L][L], mirrored[L][L];
  Out* const across = static_cast<Out*>(c.scatter) + part.i0 * c.d + part.j0;
  Out* const down = static_cast<Out*>(c.scatter) + part.j0 * c.d + part.i0;
  const bool whole = part.rows == L && part.columns == L;
  const double* total = c.total + part.j0;
  for (int i = 0; i < part.rows; ++i) {
    const double mean = c.mean[part.i0 + i];
    const In* row = part.sums + i * part.stride;
    if (whole) {
      using VD = Vec<double, 8>;
#pragma GCC unroll 2
      for (int j = 0; j < L; j += 8) {
        const VD about_mean = __builtin_convertvector((load<Vec<In, 8>>(row + j)), VD) - load<VD>(total + j) * mean;
        store(block[i] + j, __builtin_convertvector(about_mean, Vec<Out, 8>));
      }
    } else {
      for (int j = 0; j < part.columns; ++j) block[i][j] = Out(double(row[j]) - mean * total[j]);
    }
  }
  if (part.i0 == part.j0) {
    for (int i = 0; i < part.rows; ++i) {
      block[i][i] = block[i][i] > Out(0) ? block[i][i] : Out(0);
      for (int j = 0; j < i; ++j) block[i][j] = block[j][i];
    }
  } else {
    if constexpr (L == 8) transpose_8(block[0], mirrored[0]);
    else transpose_16(block[0], mirrored[0]);
  }
  const auto aligned = [](const Out* p) { return reinterpret_cast<uintptr_t>(p) % 64 == 0; };
  const bool lines = whole && c.d % L == 0 && aligned(across) && aligned(down);
  for (int i = 0; i < part.rows; ++i) {
    if (lines) stream_line(across + i * c.d, block[i]);
    else memcpy(across + i * c.d, block[i], size_t(part.columns) * sizeof(Out));
  }
  if (part.i0 == part.j0) return;
  for (int j = 0; j < part.columns; ++j) {
    if (lines) stream_line(down + j * c.d, mirrored[j]);
    else memcpy(down + j * c.d, mirrored[j], size_t(part.rows) * sizeof(Out));
  }
}

// The same for a part of any size; of one on the diagonal, the triangle j >= i is read.
template <class Isa, class In>
void centre_part(const Centring& c, const PartOfSums<In>& part) {
  const int64_t step = c.narrow ? 16 : 8;
  for (int64_t i = 0; i < part.rows; i += step)
    for (int64_t j = part.i0 == part.j0 ? i : 0; j < part.columns; j += step) {
      const auto lines = part_of_sums(part.sums + i * part.stride + j, part.stride, part.i0 + i, part.j0 + j,
                                      part.rows - i < step ? part.rows - i : step,
                                      part.columns - j < step ? part.columns - j : step);
      if (c.narrow) centre_lines<float>(c, lines);
      else centre_lines<double>(c, lines);
    }
}

// The whole of it from sums in float64, [d, d].
template <class Isa>
void centre_scatter(const Centring& c, const double* gram) {
  centre_part<Isa>(c, part_of_sums(gram, c.d, 0, 0, c.d, c.d));
}

FEATDIV_INLINE void write_diagonal(const Centring& c, int64_t j, double value) {
  if (c.narrow) static_cast<float*>(c.scatter)[j * c.d + j] = float(value);
  else static_cast<double*>(c.scatter)[j * c.d + j] = value;
}

// Lines written past the caches are seen by other threads after this.
FEATDIV_INLINE void finish_lines() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace featdiv

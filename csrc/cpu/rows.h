// Rows in memory as Python hands them over, and the questions asked of them one entry at a time.
#pragma once

#include <algorithm>

#include "isa.h"

namespace featdiv {

struct Rows {
  const char* data;      // first row, or row 0 of those that `index` chooses from
  const int64_t* index;  // [n] rows to take; null for consecutive ones
  int64_t n, d;
  int64_t stride;  // bytes from row to row; elements within a row are consecutive
  Element element;

  const char* row(int64_t r) const { return data + (index ? index[r] : r) * stride; }

  Rows slice(int64_t first, int64_t count) const {
    Rows part = *this;
    if (index) part.index += first;
    else part.data += first * stride;
    part.n = count;
    return part;
  }
};

struct BadRows {
  int64_t entries = 0;  // entries that are NaN or infinite
  int64_t first_entry_row = -1;
  int64_t zeros = 0;  // rows of norm zero
  int64_t first_zero_row = -1;
};

// Describes what made a job end with `not_finite` or `zero_norm`.
BadRows find_bad_rows(const Rows&);

// The squared norm of row r of those that `pack_block` has left in panels of `width` features: in four chains at a
// time, which do not wait for each other.
template <class T>
double packed_square(const T* by_row, int64_t width, int64_t d, int64_t r) {
  double sums[4] = {};
  for (int64_t first = 0; first < d; first += width) {
    const T* from = by_row + first * width + r * width;
    const int64_t features = std::min(width, d - first);
    for (int64_t j = 0; j < features; ++j) sums[j % 4] += double(from[j]) * double(from[j]);
  }
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// One over the Euclidean norm of each row; infinity for a zero row.
void invert_norms(const Rows&, const Kernels&, double* out);

}  // namespace featdiv

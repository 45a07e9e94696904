// Rows in memory as Python hands them over, and the questions asked of them one entry at a time.
#pragma once

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

// One over the Euclidean norm of each row; infinity for a zero row.
void invert_norms(const Rows&, const Kernels&, double* out);

}  // namespace featdiv

// The scatter op on the host: see featdiv/ops/scatter/__init__.py for what it adds to its accumulators.
#pragma once

#include "isa.h"

namespace featdiv {

enum class Outcome : int { done, not_finite, zero_norm, no_memory };

struct Status {
  Outcome outcome = Outcome::done;
  int64_t tiles = 0;             // tiles of rows multiplied
  int64_t tiles_in_doubles = 0;  // those of them for which float32 would not do
};

struct BadRows {
  int64_t entries = 0;  // entries that are NaN or infinite
  int64_t first_entry_row = -1;
  int64_t zeros = 0;  // rows of norm zero
  int64_t first_zero_row = -1;
};

struct ScatterJob {
  const char* rows;
  int64_t n, d;
  int64_t row_stride;  // bytes
  Element element;
  const double* shift;      // [d]; null for none
  const int32_t* exponent;  // [d]; null for none
  bool normalize;
  bool doubles;  // multiply in float64
  double* total;
  double* gram;
  double* weighted;  // null where not wanted
  double* fourth;
  int threads;
  IsaName isa;
};

// Adds to the accumulators, which are in an undefined state after any outcome but `done`.
Status scatter(const ScatterJob&);

// Describes what made a job end with `not_finite` or `zero_norm`.
BadRows find_bad_rows(const char* rows, int64_t n, int64_t d, int64_t row_stride, Element);

}  // namespace featdiv

// The scatter op on the host: see featdiv/ops/scatter/__init__.py for what it adds to its accumulators.
#pragma once

#include "rows.h"

namespace featdiv {

enum class Outcome : int { done, not_finite, zero_norm, no_memory, stopped = 5 };

struct Status {
  Outcome outcome = Outcome::done;
  int64_t tiles = 0;             // tiles of rows multiplied
  int64_t tiles_in_doubles = 0;  // those of them for which float32 would not do
};

// How rows are multiplied as sums of bfloat16 terms; without kernels they are not.
struct Split {
  const SplitKernels* kernels = nullptr;
  int terms = 0;
  bool all = false;      // two terms: whether their smallest product counts
  double tolerance = 0;  // of the diagonal of the product, against sums of squares
};

struct ScatterJob {
  Rows rows;
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
  double bound;  // relative error allowed, unless in doubles
  Split split;
};

// Adds to the accumulators, which are in an undefined state after any outcome but `done`.
Status scatter(const ScatterJob&);

}  // namespace featdiv

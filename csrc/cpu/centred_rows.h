// Rows less the pilot of their class, and the sums of every class: see `centred_rows` in
// featdiv/ops/class_scatter/__init__.py.
#pragma once

#include "scatter.h"

namespace featdiv {

struct CentredRowsJob {
  Rows rows;               // `index` lists them class by class
  const int64_t* codes;    // [n] class of each, equal ones side by side
  const double* pilots;    // [classes, d]
  const int32_t* exponent; // [d]; null for none
  bool normalize;
  const int64_t* places;  // [n] which row of `out` each becomes
  void* out;   // [n, d]
  bool narrow; // whether these are floats; else doubles
  double* sums; // [classes, d] +=
  int threads;
  IsaName isa;
};

// The sums are in an undefined state after `not_finite`, and as they were after `zero_norm`.
Outcome centred_rows(const CentredRowsJob&);

}  // namespace featdiv

// The cross_gram op on the host: see featdiv/ops/cross_gram/__init__.py for what it adds to its accumulators.
#pragma once

#include "scatter.h"

namespace featdiv {

// One of the two sets of features.
struct CrossSide {
  Rows rows;
  const double* shift;      // [d]; null for none
  const int32_t* exponent;  // [d]; null for none
  double* total;            // [d]
  double* weighted;         // [d]; null where not wanted
};

struct CrossJob {
  CrossSide left, right;  // of the same number of rows
  bool normalize;
  bool doubles;  // multiply in float64
  double bound;  // relative error allowed, unless in doubles
  double* gram;    // [left d, right d]
  double* fourth;  // null where not wanted
  int threads;
  IsaName isa;
};

// Adds to the accumulators, which are in an undefined state after any outcome but `done`.
Status cross_gram(const CrossJob&);

}  // namespace featdiv

// The class_scatter op on the host: see featdiv/ops/class_scatter/__init__.py.
#pragma once

#include "scatter.h"

namespace featdiv {

struct ClassScatterJob {
  Rows rows;              // all rows; `index` lists them class by class
  const int64_t* starts;  // [classes + 1] where each class begins in `index`
  int64_t classes;
  bool normalize;
  bool doubles;      // multiply in float64
  double bound;      // relative error allowed, unless in doubles
  double* means;     // [classes, d]
  void* scatters;    // [classes, d, d]
  bool narrow;       // whether these are floats; else doubles
  int threads;
  IsaName isa;
};

Outcome class_scatter(const ClassScatterJob&);

}  // namespace featdiv

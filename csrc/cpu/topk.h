// The topk op on the host: see featdiv/ops/topk/__init__.py.
#pragma once

#include "scatter.h"

namespace featdiv {

struct TopkJob {
  Rows queries, gallery;  // finite, and small enough for float32 products
  int64_t k;              // at most the rows of the gallery
  bool l2;                // smallest squared distances; else largest products
  float* values;          // [m, k] out
  int64_t* indices;       // [m, k] out
  const int64_t* watch;   // [2] the caller makes the second other than zero to stop; null for never
  int threads;
  IsaName isa;
};

Outcome topk(const TopkJob&);

}  // namespace featdiv

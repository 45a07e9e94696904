// The nearest_centroid op on the host: see featdiv/ops/nearest_centroid/__init__.py.
#pragma once

#include "scatter.h"

namespace featdiv {

struct CentroidJob {
  Rows rows;
  const int64_t* index;  // [episodes ways taken]
  int64_t episodes, ways, shots, taken;
  int64_t* nearest;  // [episodes ways taken - shots] out; -1 where a distance is not finite
  int threads;
  IsaName isa;
};

Outcome nearest_centroid(const CentroidJob&);

}  // namespace featdiv

#include "isa.h"

namespace featdiv {

const Kernels baseline_kernels = kernels_of<Baseline>();

}  // namespace featdiv

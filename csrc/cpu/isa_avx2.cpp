// Compiled with the flags of the instruction set (`ISA_FLAGS` in setup.py), so nothing here may run before
// `best_isa` has said that the processor has it: no dynamic initialisers, no functions shared with other files.
#include "isa.h"

namespace featdiv {

const Kernels avx2_kernels = kernels_of<Avx2>();

}  // namespace featdiv

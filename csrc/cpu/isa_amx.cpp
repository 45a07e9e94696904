// Compiled with the flags of the instruction set (`ISA_FLAGS` in setup.py), so nothing here may run before
// `amx_problem` has said that the processor has it: no dynamic initialisers, no functions shared with other files.
#include "../core/amx.h"
#include "../core/tile_pairs.h"
#include "isa.h"

namespace featdiv {

const SplitKernels amx_kernels = {split_block<Amx>, multiply_on_tiles};
const RoundedKernels amx_pair_kernels = {round_to_terms<Amx>, tile_pair_block<Amx>, term_words};

}  // namespace featdiv

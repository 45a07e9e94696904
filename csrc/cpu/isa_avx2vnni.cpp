// Compiled with the flags of the instruction set (`ISA_FLAGS` in setup.py), so nothing here may run before `kernels`
// has found that the processor has it: no dynamic initialisers, no functions shared with other files.
#include "../core/tapered.h"
#include "isa.h"

namespace featdiv {
namespace {

struct NarrowVnni : Avx2 {
  static inline __attribute__((always_inline)) Vec<int32_t, 8> add_products(Vec<int32_t, 8> sums, int32_t word,
                                                                            Vec<int32_t, 8> words) {
    return (Vec<int32_t, 8>)_mm256_dpwssd_avx_epi32((__m256i)sums, _mm256_set1_epi32(word), (__m256i)words);
  }

  static inline __attribute__((always_inline)) Vec<int32_t, 8> add_byte_products(Vec<int32_t, 8> sums, int32_t word,
                                                                                 Vec<int32_t, 8> words) {
    return (Vec<int32_t, 8>)_mm256_dpbusd_avx_epi32((__m256i)sums, _mm256_set1_epi32(word), (__m256i)words);
  }
};

}  // namespace

const RoundedKernels narrow_vnni_kernels = {round_to_integers<NarrowVnni, true>, integer_pair_block<NarrowVnni>,
                                            integer_words};
const TaperedKernels narrow_tapered_kernels = {turn_into_basis<NarrowVnni>, taper_rows<NarrowVnni>,
                                               tapered_pair_block<NarrowVnni>, tapered_words};
const FilterKernels narrow_filter_kernels = {round_to_integers<NarrowVnni, false>, integer_nearest_block<NarrowVnni>,
                                             integer_words};

}  // namespace featdiv

// Compiled with the flags of the instruction set (`ISA_FLAGS` in setup.py), so nothing here may run before
// `best_isa` has said that the processor has it: no dynamic initialisers, no functions shared with other files.
#include "../core/tapered.h"
#include "isa.h"

namespace featdiv {
namespace {

struct Vnni : Avx512 {
  // sums + the products of the two 16-bit integers of `word` with those of each of `words`. Tests build it without VNNI.
  static inline __attribute__((always_inline)) Vec<int32_t, 16> add_products(Vec<int32_t, 16> sums, int32_t word,
                                                                             Vec<int32_t, 16> words) {
#if defined(__AVX512VNNI__)
    return (Vec<int32_t, 16>)_mm512_dpwssd_epi32((__m512i)sums, _mm512_set1_epi32(word), (__m512i)words);
#else
    return sums + (words << 16 >> 16) * int32_t(int16_t(word)) + (words >> 16) * (word >> 16);
#endif
  }

  // sums + the products of the four bytes of `word`, without signs, with those of each of `words`, with signs.
  static inline __attribute__((always_inline)) Vec<int32_t, 16> add_byte_products(Vec<int32_t, 16> sums, int32_t word,
                                                                                  Vec<int32_t, 16> words) {
#if defined(__AVX512VNNI__)
    return (Vec<int32_t, 16>)_mm512_dpbusd_epi32((__m512i)sums, _mm512_set1_epi32(word), (__m512i)words);
#else
    for (int shift = 0; shift < 32; shift += 8) sums += (words << (24 - shift) >> 24) * (word >> shift & 255);
    return sums;
#endif
  }
};

}  // namespace

const RoundedKernels vnni_kernels = {round_to_integers<Vnni, true>, integer_pair_block<Vnni>, integer_words};
const TaperedKernels tapered_kernels = {turn_into_basis<Vnni>, taper_rows<Vnni>, tapered_pair_block<Vnni>,
                                        tapered_words};
const FilterKernels filter_kernels = {round_to_integers<Vnni, false>, integer_nearest_block<Vnni>, integer_words};

}  // namespace featdiv

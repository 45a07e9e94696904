#include "isa.h"

#include "amx.h"

#if defined(FEATDIV_X86)
#include <cpuid.h>
#endif

namespace featdiv {
namespace {

#if defined(FEATDIV_X86) && !defined(FEATDIV_EMULATED_TILES)
// Not every compiler's __builtin_cpu_supports knows "f16c".
bool has_f16c() {
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

#if defined(FEATDIV_AMX)
// Compilers that know AMX know it too, but not all by name.
bool has_avx_vnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}
#endif

#if defined(FEATDIV_X86)
Kernels with_units(Kernels all, const SplitKernels* split, const RoundedKernels* rounded, const TaperedKernels* tapered,
                   const FilterKernels* filter) {
  all.split = split;
  all.rounded = rounded;
  all.tapered = tapered;
  all.filter = filter;
  return all;
}
#endif

}  // namespace

IsaName best_isa() {
#if defined(FEATDIV_EMULATED_TILES)
  return IsaName::amx;
#elif defined(FEATDIV_X86)
  __builtin_cpu_init();
  // The builtin also asks XGETBV whether the operating system saves the registers.
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    if (!*amx_problem()) return IsaName::amx;
    return __builtin_cpu_supports("avx512vnni") ? IsaName::avx512vnni : IsaName::avx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c())
    return IsaName::avx2;
#endif
  return IsaName::baseline;
}

const Kernels& kernels([[maybe_unused]] IsaName isa) {
#if defined(FEATDIV_AMX)
  if (isa == IsaName::amx) {
    // Tiles may be emulated where there is no VNNI.
    static const Kernels with_tiles =
        with_units(avx512_kernels, &amx_kernels, &amx_pair_kernels, nullptr,
                   __builtin_cpu_supports("avx512vnni") ? &filter_kernels : nullptr);
    return with_tiles;
  }
#endif
#if defined(FEATDIV_X86)
  if (isa == IsaName::avx512vnni) {
    static const Kernels with_integers = with_units(avx512_kernels, nullptr, &vnni_kernels, &tapered_kernels, &filter_kernels);
    return with_integers;
  }
  if (isa == IsaName::avx512) return avx512_kernels;
#if defined(FEATDIV_AMX)
  if (isa == IsaName::avx2 && has_avx_vnni()) {
    static const Kernels with_integers =
        with_units(avx2_kernels, nullptr, &narrow_vnni_kernels, &narrow_tapered_kernels, &narrow_filter_kernels);
    return with_integers;
  }
#endif
  if (isa == IsaName::avx2) return avx2_kernels;
#endif
  return baseline_kernels;
}

}  // namespace featdiv

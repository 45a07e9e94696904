// The AMX path of scatter with the software tile unit, callable through ctypes: its own choice of kernels, and the
// arguments of the bindings.
#include <vector>

#include "cpu/amx.h"
#include "cpu/scatter.h"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace featdiv {

const Kernels& kernels(IsaName) {
  static const Kernels with_tiles = [] {
    Kernels all = avx512_kernels;
    all.split = &amx_kernels;
    return all;
  }();
  return with_tiles;
}

}  // namespace featdiv

EXPORTED const char* emulated_amx_problem() { return featdiv::amx_problem(); }

// One panel of 48 features, split.
EXPORTED void emulated_split(const float* panel, int64_t n, int64_t d, int terms, int64_t group_steps, uint16_t* out,
                             double* square) {
  featdiv::amx_kernels.split({panel, 48 * n, n, d, terms, out, group_steps, square});
}

EXPORTED int emulated_scatter(const char* rows, int64_t n, int64_t d, int64_t row_stride, int element,
                              const double* shift, const int32_t* exponent, int normalize, int doubles, double bound,
                              double* total, double* gram, double* weighted, double* fourth, int threads, int isa,
                              int64_t* tiles) {
  const featdiv::Rows where{rows, nullptr, n, d, row_stride, featdiv::Element(element)};
  const featdiv::Status status =
      featdiv::scatter({where, shift, exponent, normalize != 0, doubles != 0, total, gram, weighted, fourth, threads,
                        featdiv::IsaName(isa), bound, {}});
  tiles[0] = status.tiles;
  tiles[1] = status.tiles_in_doubles;
  return int(status.outcome);
}

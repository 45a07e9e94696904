// The AMX path with the software tile unit, callable through ctypes: its own table of kernels, which holds those of
// scatter and its relatives alone because the others take long to compile, and the arguments of the bindings.
// One translation unit, because most of the time of a small one goes into headers.
#include "cpu/amx.cpp"
#include "cpu/class_scatter.cpp"
#include "cpu/cross_gram.cpp"
#include "cpu/pool.cpp"
#include "cpu/rows.cpp"
#include "cpu/scatter.cpp"

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace featdiv {

namespace {

template <class T>
constexpr ProductKernels<T> product_kernels() {
  return {panel_width<Avx512, T>,   micro_rows<Avx512, T>, pack_block<Avx512, T>,  gram_block<Avx512, T>,
          centred_block<Avx512, T>, nullptr,               nullptr,                weigh_block<Avx512, T>,
          cross_weigh_block<Avx512, T>};
}

}  // namespace

const Kernels& kernels(IsaName) {
  static const Kernels with_tiles{product_kernels<float>(),
                                  product_kernels<double>(),
                                  square_norms<Avx512>,
                                  nullptr,
                                  nullptr,
                                  nullptr,
                                  centre_scatter<Avx512>,
                                  &amx_kernels,
                                  nullptr,
                                  nullptr};
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

EXPORTED int emulated_class_scatter(const char* rows, int64_t n, int64_t d, int64_t row_stride, int element,
                                    const int64_t* index, const int64_t* starts, int64_t classes, int normalize,
                                    int doubles, double bound, double* means, void* scatters, int narrow, int threads,
                                    int isa) {
  const featdiv::Rows where{rows, index, n, d, row_stride, featdiv::Element(element)};
  return int(featdiv::class_scatter({where, starts, classes, normalize != 0, doubles != 0, bound, means, scatters,
                                     narrow != 0, threads, featdiv::IsaName(isa)}));
}

EXPORTED int emulated_cross_gram(const char* x, int64_t x_stride, int64_t x_d, const double* x_shift,
                                 const int32_t* x_exponent, double* x_total, double* x_weighted, const char* other,
                                 int64_t other_stride, int64_t other_d, const double* other_shift,
                                 const int32_t* other_exponent, double* other_total, double* other_weighted, int64_t n,
                                 int element, int normalize, int doubles, double bound, double* gram, double* fourth,
                                 int threads, int isa, int64_t* tiles) {
  const auto type = featdiv::Element(element);
  const featdiv::Status status = featdiv::cross_gram(
      {{{x, nullptr, n, x_d, x_stride, type}, x_shift, x_exponent, x_total, x_weighted},
       {{other, nullptr, n, other_d, other_stride, type}, other_shift, other_exponent, other_total, other_weighted},
       normalize != 0, doubles != 0, bound, gram, fourth, threads, featdiv::IsaName(isa)});
  tiles[0] = status.tiles;
  tiles[1] = status.tiles_in_doubles;
  return int(status.outcome);
}

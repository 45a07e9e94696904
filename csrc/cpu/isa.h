// The instruction sets of this build: a table of kernels for each, and the choice among them at run time.
#pragma once

#include "../core/centroids.h"
#include "../core/centre.h"
#include "../core/cross.h"
#include "../core/gram.h"
#include "../core/nearest.h"
#include "../core/pack.h"
#include "../core/pairs.h"
#include "../core/rounded.h"
#include "../core/split.h"
#include "../core/tapered.h"

namespace featdiv {

enum class IsaName : int { baseline, avx2, avx512, avx512vnni, amx, count };

template <class T>
struct ProductKernels {
  int panel_width;
  int micro_rows;
  bool (*pack)(const PackBlock<T>&);
  void (*gram)(const PanelProduct<T>&, const GramBlock&);
  void (*centred)(const PanelProduct<T>&, const GramBlock&, const Centring&);
  void (*pairs)(PairBlock<T>&);
  void (*nearest)(const NearestBlock&);  // of floats only
  void (*weigh)(const T* panels, int64_t panel_stride, int64_t n, int64_t d, double* weighted, double* fourth);
  void (*cross_weigh)(const WeighedSide<T>& left, const WeighedSide<T>& right, int64_t panel_stride, int64_t n,
                      double* fourth);
};

// A unit that multiplies bfloat16 terms.
struct SplitKernels {
  void (*split)(const SplitBlock&);
  void (*multiply)(const SplitProduct&);
};

// A unit that multiplies rounded rows faster than floats.
struct RoundedKernels {
  void (*round)(const RoundBlock&);
  void (*pairs)(const PairBlock<float>&, const RoundedSides&);
  int64_t (*words)(int64_t d);  // of 32 bits that hold one row of a panel
};

// The same of tapered rows.
struct TaperedKernels {
  void (*turn)(const float* columns, const float* basis, int64_t d, float* by_row);
  void (*round)(const RoundBlock&);
  void (*pairs)(const PairBlock<float>&, const TaperedSides&);
  int64_t (*words)(int64_t d, int64_t lead);
};

// The same of rows rounded to nearest, whose products are as near to the true ones as the errors of the rows say.
struct FilterKernels {
  void (*round)(const RoundBlock&);
  void (*nearest)(const NearestBlock&, const RoundedSides&);
  int64_t (*words)(int64_t d);
};

struct Kernels {
  ProductKernels<float> f32;
  ProductKernels<double> f64;
  bool (*square_norms)(const char* rows, const int64_t* index, int64_t row_stride, int64_t n, int64_t d, Element,
                       double* out);
  double (*exact_measure)(const char* a, const char* b, int64_t d, Element, double a_scale, double b_scale, Measure);
  void (*exact_measures)(const char* row, const char* const* others, int64_t count, int64_t d, Element, Measure,
                         double* out);
  void (*nearest_centroids)(const EpisodeBlock&);
  void (*centre)(const Centring&, const double* gram);
  const SplitKernels* split;  // null for an instruction set without such a unit
  const RoundedKernels* rounded;  // likewise
  const TaperedKernels* tapered;  // likewise
  const FilterKernels* filter;    // likewise

  template <class T>
  const ProductKernels<T>& product() const {
    if constexpr (__is_same(T, float)) return f32;
    else return f64;
  }
};

template <class Isa, class T>
constexpr ProductKernels<T> product_kernels() {
  void (*nearest)(const NearestBlock&) = nullptr;
  if constexpr (__is_same(T, float)) nearest = nearest_block<Isa>;
  return {panel_width<Isa, T>,   micro_rows<Isa, T>, pack_block<Isa, T>, gram_block<Isa, T>,
          centred_block<Isa, T>, pair_block<Isa, T>, nearest,            weigh_block<Isa, T>,
          cross_weigh_block<Isa, T>};
}

template <class Isa>
constexpr Kernels kernels_of() {
  return {product_kernels<Isa, float>(),
          product_kernels<Isa, double>(),
          square_norms<Isa>,
          exact_measure<Isa>,
          exact_measures<Isa>,
          nearest_centroids<Isa>,
          centre_scatter<Isa>,
          nullptr,
          nullptr,
          nullptr,
          nullptr};
}

extern const Kernels baseline_kernels;
extern const Kernels avx2_kernels;
extern const Kernels avx512_kernels;
// Beside those of AVX-512.
extern const RoundedKernels vnni_kernels;
extern const TaperedKernels tapered_kernels;
extern const FilterKernels filter_kernels;
// Beside those of AVX2, where VNNI came without AVX-512.
extern const RoundedKernels narrow_vnni_kernels;
extern const TaperedKernels narrow_tapered_kernels;
extern const FilterKernels narrow_filter_kernels;
extern const SplitKernels amx_kernels;
extern const RoundedKernels amx_pair_kernels;

// The best set that the processor and the operating system support.
IsaName best_isa();

const Kernels& kernels(IsaName);

}  // namespace featdiv

// Vectors of one instruction set, as compiler vectors: the same templates build for every machine, and the flags of
// the translation unit decide which instructions they become.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define FEATDIV_INLINE static inline __attribute__((always_inline))

namespace featdiv {

// One struct an instruction set, so that instantiations of a template in different files have different symbols:
// otherwise the linker could keep the AVX-512 copy of a function that the baseline calls.
struct Baseline {
  static constexpr int bytes = 16;
#if defined(__aarch64__)
  static constexpr int micro_rows = 6;  // its 32 registers hold sums enough for four units of latency four
#else
  static constexpr int micro_rows = 4;
#endif
};
struct Avx2 {
  static constexpr int bytes = 32;
  static constexpr int micro_rows = 4;
};
struct Avx512 {
  static constexpr int bytes = 64;
  static constexpr int micro_rows = 8;
};

template <class T, int N>
struct VecOf {
  typedef T type __attribute__((vector_size(N * sizeof(T))));
};
template <class T, int N>
using Vec = typename VecOf<T, N>::type;

template <class Isa, class T>
constexpr int lanes = Isa::bytes / int(sizeof(T));

// Features in one packed panel: three vectors.
template <class Isa, class T>
constexpr int panel_width = 3 * lanes<Isa, T>;

// Rows of the register block. Blocks tile panels.
template <class Isa, class T>
constexpr int micro_rows = panel_width<Isa, T> % Isa::micro_rows == 0 ? Isa::micro_rows : lanes<Isa, T>;

template <class V, class T>
FEATDIV_INLINE V load(const T* p) {
  V v;
  memcpy(&v, p, sizeof(V));
  return v;
}

template <class V, class T>
FEATDIV_INLINE void store(T* p, V v) {
  memcpy(p, &v, sizeof(V));
}

template <int N>
FEATDIV_INLINE Vec<float, N> magnitude(Vec<float, N> v) {
  return (Vec<float, N>)((Vec<uint32_t, N>)v & 0x7fffffffu);
}

template <int N>
FEATDIV_INLINE Vec<double, N> magnitude(Vec<double, N> v) {
  return (Vec<double, N>)((Vec<uint64_t, N>)v & 0x7fffffffffffffffull);
}

template <bool B>
struct Constant {
  static constexpr bool value = B;
};

}  // namespace featdiv

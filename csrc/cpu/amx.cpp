#include "amx.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "isa.h"

#if defined(FEATDIV_AMX) && !defined(FEATDIV_EMULATED_TILES)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#endif
#endif

namespace featdiv {
namespace {

#if defined(FEATDIV_AMX)

#if defined(FEATDIV_EMULATED_TILES)

std::string refusal() { return ""; }

#else

bool processor_has_amx() {
  unsigned a, b, c, d;
  constexpr unsigned amx_bf16 = 1u << 22, amx_tile = 1u << 24;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & amx_bf16) && (d & amx_tile);
}

bool system_saves_tiles() {
  unsigned a, b, c, d;
  constexpr unsigned osxsave = 1u << 27, tiles = 3u << 17;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & osxsave)) return false;
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & tiles) == tiles;
}

// Linux gives the tiles to processes that ask; children inherit them.
std::string ask_system() {
#if defined(__linux__)
  constexpr long request_permission = 0x1023, tile_data = 18;
  if (syscall(SYS_arch_prctl, request_permission, tile_data) == 0) return "";
  return std::string("the kernel refused the permission to use its tiles (arch_prctl: ") + std::strerror(errno) + ")";
#else
  return "it is used on Linux only";
#endif
}

std::string refusal() {
  if (!processor_has_amx()) return "the processor has no amx_tile and amx_bf16";
  if (!system_saves_tiles()) return "the operating system does not save its tiles";
  return ask_system();
}

#endif

// Whether the product of `value`s on the tiles is the one of plain float64 arithmetic, within `bound`.
template <class F>
bool product_agrees(int64_t n, int64_t d, int terms, double bound, F&& value) {
  constexpr int64_t block = 64, panel = 48;
  const int64_t steps = (n + tile_depth - 1) / tile_depth, groups = (d + split_width - 1) / split_width * 2;
  std::vector<uint16_t> packed(size_t(groups * steps * terms * tile_values + 32));
  const size_t misaligned = reinterpret_cast<uintptr_t>(packed.data()) % 64 / 2;
  uint16_t* out = packed.data() + (misaligned ? 32 - misaligned : 0);
  std::vector<double> square(size_t(groups * tile_features)), gram(size_t(d * d)), diagonal(static_cast<size_t>(d));
  for (int64_t first = 0; first < n; first += block) {
    std::vector<float> floats(size_t(block * panel));
    const int64_t rows = std::min(block, n - first);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t j = 0; j < d; ++j) floats[size_t(r * panel + j)] = value(first + r, j);
    amx_kernels.split({floats.data(), block * panel, rows, d, terms,
                       out + first / tile_depth * terms * tile_values, steps, square.data()});
  }
  const SplitSide side{out, d};
  const SplitRange all{0, groups / 2};
  amx_kernels.multiply({side, side, steps, steps, terms, true, all, all, 1.0, gram.data(), diagonal.data()});
  const auto truth = [&](int64_t i, int64_t j) {
    double sum = 0;
    for (int64_t r = 0; r < n; ++r) sum += double(value(r, i)) * double(value(r, j));
    return sum;
  };
  std::vector<double> size(static_cast<size_t>(d));
  for (int64_t i = 0; i < d; ++i) size[size_t(i)] = std::sqrt(truth(i, i));
  for (int64_t i = 0; i < d; ++i)
    for (int64_t j = i; j < d; ++j) {
      const double got = i == j ? diagonal[size_t(i)] : gram[size_t(i * d + j)];
      if (!(std::fabs(got - truth(i, j)) <= bound * size[size_t(i)] * size[size_t(j)])) return false;
    }
  return true;
}

// Integers that the terms hold, and whose sums float32 holds, must come out exactly; other floats within the bound of
// `float32`.
bool products_agree() {
  const auto small = [](int64_t r, int64_t j) { return float((7 * r + 13 * j + r * j) % 31 - 15); };
  const auto large = [](int64_t r, int64_t j) { return float((7 * r + 13 * j + r * j) % 601 - 300); };
  const auto wide = [](int64_t r, int64_t j) { return float((37 * r + 101 * j + 3 * r * j) % 1999 - 999) / 331.0f; };
  return product_agrees(70, 41, 1, 0.0, small) && product_agrees(70, 41, 2, 0.0, large) &&
         product_agrees(70, 41, 3, 0.0, large) && product_agrees(600, 35, 3, 1e-6, wide);
}

std::string find_problem() {
  const std::string refused = refusal();
  if (!refused.empty()) return refused;
  return products_agree() ? "" : "its products failed the check at first use, so it is left alone";
}

#else

std::string find_problem() {
#if defined(__x86_64__)
  return "the compiler that built this module did not know it";
#else
  return "it is an instruction set of x86-64";
#endif
}

#endif

}  // namespace

const char* amx_problem() {
  static const std::string problem = find_problem();
  return problem.c_str();
}

}  // namespace featdiv

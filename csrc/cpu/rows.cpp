#include "rows.h"

#include <algorithm>
#include <cmath>

namespace featdiv {
namespace {

double element_value(const char* p, Element element) {
  double value = 0;
  with_element(element, [&](auto source) { value = widen<double, 1, decltype(source)>(p)[0]; });
  return value;
}

// Square root of the sum of squares of a row that may overflow or underflow on the way.
double careful_norm(const char* row, int64_t d, Element element) {
  const int64_t size = element_size[int(element)];
  double largest = 0;
  for (int64_t j = 0; j < d; ++j) largest = std::max(largest, std::fabs(element_value(row + j * size, element)));
  if (largest == 0 || !std::isfinite(largest)) return largest;
  double square = 0;
  for (int64_t j = 0; j < d; ++j) {
    const double x = element_value(row + j * size, element) / largest;
    square += x * x;
  }
  return largest * std::sqrt(square);
}

}  // namespace

BadRows find_bad_rows(const Rows& rows) {
  BadRows found;
  for (int64_t r = 0; r < rows.n; ++r) {
    bool zero = true;
    for (int64_t j = 0; j < rows.d; ++j) {
      const double x = element_value(rows.row(r) + j * element_size[int(rows.element)], rows.element);
      zero = zero && x == 0;
      if (std::isfinite(x)) continue;
      if (found.entries++ == 0) found.first_entry_row = r;
    }
    if (zero && found.zeros++ == 0) found.first_zero_row = r;
  }
  return found;
}

void invert_norms(const Rows& rows, const Kernels& kernels, double* out) {
  const bool normal =
      kernels.square_norms(rows.data, rows.index, rows.stride, rows.n, rows.d, rows.element, out);
  for (int64_t r = 0; r < rows.n; ++r)
    out[r] = 1.0 / (normal ? std::sqrt(out[r]) : careful_norm(rows.row(r), rows.d, rows.element));
}

}  // namespace featdiv

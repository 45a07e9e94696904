// The kernel of csrc/cuda/eigvals.cuh played on a host: each phase runs for every thread before the next begins, in an
// order of threads that no result may depend on.
#include <vector>

#include "jacobi.h"

namespace {

template <class F>
void every_thread(int threads, bool backwards, F&& f) {
  for (int i = 0; i < threads; ++i) f(backwards ? threads - 1 - i : i);
}

}  // namespace

// Returns the number of sweeps, or -1 if they did not end.
extern "C" int emulate_eigvals(const double* in, int d, int threads, int backwards, double* values, double* vectors) {
  using namespace featdiv;
  std::vector<double> a(d * d), v(d * d);
  std::vector<Rotation> rotations(d / 2 + 1);
  double largest = 0.0, all = 0.0;
  every_thread(threads, backwards, [&](int t) { largest = fmax(largest, jacobi_largest(in, d, t, threads)); });
  int exponent = 0;
  if (largest > 0.0) exponent = ilogb(largest) + 1;
  every_thread(threads, backwards, [&](int t) { jacobi_start(in, d, exponent, a.data(), v.data(), t, threads); });
  every_thread(threads, backwards, [&](int t) { all += jacobi_squares(a.data(), d, 1, t, threads); });
  for (int sweep = 0; sweep < jacobi_sweeps; ++sweep) {
    double off = 0.0;
    every_thread(threads, backwards, [&](int t) { off += jacobi_squares(a.data(), d, 0, t, threads); });
    if (sqrt(off) <= jacobi_epsilon * sqrt(all) / d) {
      every_thread(threads, backwards, [&](int t) {
        jacobi_finish(a.data(), v.data(), d, exponent, values, vectors, t, threads);
      });
      return sweep;
    }
    for (int round = 0; round < d + d % 2 - 1; ++round) {
      every_thread(threads, backwards, [&](int t) { jacobi_angles(a.data(), d, round, rotations.data(), t, threads); });
      every_thread(threads, backwards, [&](int t) { jacobi_rows(a.data(), d, rotations.data(), t, threads); });
      every_thread(threads, backwards,
                   [&](int t) { jacobi_columns(a.data(), v.data(), d, rotations.data(), t, threads); });
    }
  }
  return -1;
}

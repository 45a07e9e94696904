#include "centred_rows.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "arrays.h"
#include "pool.h"
#include "stages.h"

namespace featdiv {
namespace {

// Values at a time, as vectors of whatever instruction set there is: memory is what this waits for.
constexpr int step = 8;
// Each thread takes features, not rows, so that every sum is taken in the order of the rows. Cache lines of `out`
// are shared by no two of them.
constexpr int64_t least_features = 64;
// Rows whose norms one task takes.
constexpr int64_t norm_rows = 64;

// What all threads read.
struct Factors {
  Array<double> inverse_norm, scale;  // [n], [d]; null for none
};

template <class Src, class Out>
class Stripe {
 public:
  Stripe(const CentredRowsJob& job, const Factors& factors, int64_t first, int64_t last)
      : job_(job), factors_(factors), first_(first), last_(last), sum_(aligned_array<double>(last - first)) {}

  // Returns whether the sums are finite, as they are if all rows are.
  bool run() {
    bool finite = true;
    const Rows& rows = job_.rows;
    for (int64_t start = 0, stop = 0; start < rows.n; start = stop) {
      std::fill_n(sum_.get(), last_ - first_, 0.0);
      for (stop = start; stop < rows.n && job_.codes[stop] == job_.codes[start]; ++stop) {
        const char* ahead = rows.row(std::min(stop + rows_ahead, rows.n - 1));
        for (int64_t j = first_; j < last_; j += 64 / int64_t(sizeof(Src)))
          __builtin_prefetch(ahead + j * int64_t(sizeof(Src)));
        centre(stop);
      }
      double* total = job_.sums + job_.codes[start] * rows.d + first_;
      for (int64_t j = 0; j < last_ - first_; ++j) {
        finite &= std::isfinite(sum_[size_t(j)]);
        total[j] += sum_[size_t(j)];
      }
    }
    return finite;
  }

 private:
  void centre(int64_t r) {
    int64_t j = first_;
    for (; j + step <= last_; j += step) centre<step>(r, j);
    for (; j < last_; ++j) centre<1>(r, j);
  }

  template <int N>
  __attribute__((always_inline)) inline void centre(int64_t r, int64_t j) {
    using V = Vec<double, N>;
    V x = widen<double, N, Src>(job_.rows.row(r) + j * int64_t(sizeof(Src)));
    if (factors_.inverse_norm) x *= factors_.inverse_norm[size_t(r)];
    x -= load<V>(job_.pilots + job_.codes[r] * job_.rows.d + j);
    if (factors_.scale) x *= load<V>(factors_.scale.get() + j);
    double* sum = sum_.get() + (j - first_);
    store(sum, load<V>(sum) + x);
    store(static_cast<Out*>(job_.out) + job_.places[r] * job_.rows.d + j, __builtin_convertvector(x, Vec<Out, N>));
  }

  const CentredRowsJob& job_;
  const Factors& factors_;
  const int64_t first_, last_;
  Array<double> sum_;  // of one class
};

Outcome take_norms(const CentredRowsJob& job, Factors& factors) {
  const int64_t n = job.rows.n;
  factors.inverse_norm = aligned_array<double>(n);
  double* inverse = factors.inverse_norm.get();
  parallel_for(job.threads, (n + norm_rows - 1) / norm_rows, [&](int64_t task) {
    const int64_t first = task * norm_rows;
    invert_norms(job.rows.slice(first, std::min(norm_rows, n - first)), kernels(job.isa), inverse + first);
  });
  const bool usable = std::all_of(inverse, inverse + n, [](double x) { return std::isfinite(x) && x != 0; });
  return usable ? Outcome::done : Outcome::zero_norm;
}

template <class Src, class Out>
Outcome run(const CentredRowsJob& job, const Factors& factors) {
  const int64_t d = job.rows.d;
  const int64_t most = (d + least_features - 1) / least_features;
  const int64_t tasks = std::min<int64_t>(most, job.threads);
  std::atomic<Outcome> worst{Outcome::done};
  parallel_for(job.threads, tasks, [&](int64_t task) {
    const InStage stage(Stage::pack);
    const int64_t first = most * task / tasks * least_features;
    const int64_t last = std::min(d, most * (task + 1) / tasks * least_features);
    try {
      if (!Stripe<Src, Out>(job, factors, first, last).run()) worst.store(Outcome::not_finite);
    } catch (const std::bad_alloc&) {
      worst.store(Outcome::no_memory);
    }
  });
  return worst.load();
}

}  // namespace

Outcome centred_rows(const CentredRowsJob& job) {
  try {
    Factors factors;
    if (job.normalize)
      if (const Outcome outcome = take_norms(job, factors); outcome != Outcome::done) return outcome;
    if (job.exponent) {
      factors.scale = aligned_array<double>(job.rows.d);
      for (int64_t j = 0; j < job.rows.d; ++j) factors.scale[size_t(j)] = std::ldexp(1.0, job.exponent[j]);
    }
    Outcome outcome = Outcome::done;
    with_element(job.rows.element, [&](auto source) {
      using Src = decltype(source);
      outcome = job.narrow ? run<Src, float>(job, factors) : run<Src, double>(job, factors);
    });
    return outcome;
  } catch (const std::bad_alloc&) {
    return Outcome::no_memory;
  }
}

}  // namespace featdiv

#include "pair_sums.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <limits>
#include <mutex>
#include <vector>

#include "arrays.h"
#include "pool.h"
#include "stages.h"

namespace featdiv {
namespace {

// Panels on each side of one task: together they fit the second-level cache for some hundred features.
constexpr int64_t task_panels = 4;
// Magnitudes whose squares, and sums of them, neither overflow nor vanish.
template <class T>
constexpr double largest_peak = sizeof(T) == sizeof(float) ? 0x1p55 : 0x1p490;
template <class T>
constexpr double smallest_peak = sizeof(T) == sizeof(float) ? 0x1p-40 : 0x1p-450;

using Pair = std::array<int64_t, 2>;

// Rows, normalised and shifted, packed feature by feature.
template <class T>
struct Packed {
  Array<T> panels, squares;
  Array<double> inverse_norm;
  int64_t count = 0;  // panels
  double peak = 0;    // largest magnitude
  Outcome outcome = Outcome::done;
};

template <class T>
Packed<T> pack_all(const PairJob& job, const Rows& rows, const Kernels& kernels) {
  const ProductKernels<T>& product = kernels.product<T>();
  const int64_t width = product.panel_width, d = rows.d, padded = (d + width - 1) / width * width;
  Packed<T> packed;
  packed.count = (rows.n + width - 1) / width;
  packed.panels = aligned_array<T>(packed.count * width * d);
  packed.squares = aligned_array<T>(packed.count * width);
  if (job.normalize) packed.inverse_norm = aligned_array<double>(packed.count * width);
  Array<double> shift;
  if (job.shift) {
    shift = aligned_array<double>(padded);
    std::fill_n(shift.get(), padded, 0.0);
    std::copy_n(job.shift, d, shift.get());
  }
  std::atomic<Outcome> worst{Outcome::done};
  std::mutex mutex;
  parallel_for(job.threads, packed.count, [&](int64_t p) {
    const InStage stage(Stage::pack);
    try {
      const int64_t n = std::min(width, rows.n - p * width);
      const Rows part = rows.slice(p * width, n);
      auto by_row = aligned_array<T>(padded * width);
      auto total = aligned_array<double>(padded);
      auto peaks = aligned_array<T>(padded);
      std::fill_n(peaks.get(), padded, T(0));
      double* inverse_norm = nullptr;
      if (job.normalize) {
        inverse_norm = packed.inverse_norm.get() + p * width;
        invert_norms(part, kernels, inverse_norm);
        for (int64_t r = 0; r < n; ++r)
          if (std::isinf(inverse_norm[r]) && worst.load() == Outcome::done) worst.store(Outcome::zero_norm);
      }
      PackBlock<T> block{};
      block.rows = part.data;
      block.index = part.index;
      block.row_stride = part.stride;
      block.n = n;
      block.d = d;
      block.element = part.element;
      block.panels = by_row.get();
      block.panel_stride = width * width;
      block.wide = true;
      block.shift = shift.get();
      block.inverse_norm = inverse_norm;
      block.total = total.get();
      block.peak = peaks.get();
      if (!product.pack(block)) worst.store(Outcome::not_finite);
      T* out = packed.panels.get() + p * width * d;
      T* squares = packed.squares.get() + p * width;
      std::vector<double> sums(static_cast<size_t>(width));
      // A square of rows and features at a time stays in the first-level cache while it is turned.
      for (int64_t first = 0; first < d; first += width) {
        const int64_t features = std::min(width, d - first);
        const T* from = by_row.get() + first * width;
        for (int64_t r = 0; r < n; ++r)
          for (int64_t j = 0; j < features; ++j) {
            const T z = from[r * width + j];
            out[(first + j) * width + r] = z;
            sums[size_t(r)] += double(z) * double(z);
          }
        for (int64_t j = first; j < first + features; ++j) std::fill(out + j * width + n, out + (j + 1) * width, T(0));
      }
      for (int64_t r = 0; r < width; ++r) squares[r] = T(sums[size_t(r)]);
      const double peak = double(*std::max_element(peaks.get(), peaks.get() + d));
      std::lock_guard<std::mutex> lock(mutex);
      packed.peak = std::max(packed.peak, peak);
    } catch (const std::bad_alloc&) {
      worst.store(Outcome::no_memory);
    }
  });
  packed.outcome = worst.load();
  return packed;
}

template <class T>
class PairRunner {
 public:
  PairRunner(const PairJob& job, PairResult& result)
      : job_(job),
        result_(result),
        kernels_(kernels(job.isa)),
        product_(kernels_.product<T>()),
        width_(product_.panel_width),
        within_(job.other.n == 0),
        sign_(job.measure == Measure::distance ? -1.0 : 1.0),
        best_(-std::numeric_limits<double>::infinity()) {
    const double unit = sizeof(T) == sizeof(float) ? 0x1p-24 : 0x1p-53;
    // A chain, the sum of chains, and the roundings of the rows, of their norms and of the sum of three terms.
    rounding_ = T(unit * double(pair_chain + job.x.d / pair_chain + 12));
  }

  PairOutcome run() {
    left_ = pack_all<T>(job_, job_.x, kernels_);
    if (left_.outcome != Outcome::done) return PairOutcome(int(left_.outcome));
    if (!within_) {
      right_ = pack_all<T>(job_, job_.other, kernels_);
      if (right_.outcome != Outcome::done) return PairOutcome(int(right_.outcome));
    }
    const double peak = std::max(left_.peak, right_.peak);
    if (peak != 0 && !(peak <= largest_peak<T> && peak >= smallest_peak<T>))
      return PairOutcome::out_of_range;
    const int64_t down = (left_.count + task_panels - 1) / task_panels;
    const int64_t across = (right().count + task_panels - 1) / task_panels;
    for (int64_t j = 0; j < across; ++j)
      for (int64_t i = 0; i < (within_ ? j + 1 : down); ++i) tasks_.push_back({i, j});
    exp_sums_.resize(tasks_.size() * size_t(job_.rate_count));
    distance_sums_.resize(job_.distances ? tasks_.size() : 0);
    parallel_for(job_.threads, int64_t(tasks_.size()), [&](int64_t task) {
      try {
        run_task(task);
      } catch (const std::bad_alloc&) {
        no_memory_ = true;
      }
    });
    if (no_memory_) return PairOutcome::no_memory;
    for (size_t task = 0; task < tasks_.size(); ++task)
      for (int rate = 0; rate < job_.rate_count; ++rate)
        result_.exp_sums[rate] += exp_sums_[task * size_t(job_.rate_count) + size_t(rate)];
    for (const double sum : distance_sums_) result_.distance_sum += sum;
    std::sort(examples_.begin(), examples_.end());
    examples_.resize(std::min(examples_.size(), size_t(job_.most_examples)));
    for (size_t k = 0; k < examples_.size(); ++k) std::copy_n(examples_[k].data(), 2, result_.examples + 2 * k);
    if (nearest_[0] >= 0) {
      std::copy_n(nearest_.data(), 2, result_.nearest);
      result_.nearest_value = exact(nearest_[0], nearest_[1]);
    }
    return PairOutcome::done;
  }

 private:
  // What one task finds, before it is added to the whole.
  struct Tally {
    std::vector<int64_t> histogram;
    std::vector<Pair> examples;
    int64_t close = 0;
    double best = -std::numeric_limits<double>::infinity();
    Pair nearest{-1, -1};
  };

  const Packed<T>& right() const { return within_ ? left_ : right_; }
  const Rows& right_rows() const { return within_ ? job_.x : job_.other; }

  double exact(int64_t i, int64_t j) const { return exact(i, j, job_.measure); }

  double exact(int64_t i, int64_t j, Measure measure) const {
    const double a = job_.normalize ? left_.inverse_norm[size_t(i)] : 1.0;
    const double b = job_.normalize ? right().inverse_norm[size_t(j)] : 1.0;
    return kernels_.exact_measure(job_.x.row(i), right_rows().row(j), job_.x.d, job_.x.element, a, b, measure);
  }

  void run_task(int64_t task) {
    const auto [down, across] = tasks_[size_t(task)];
    Tally tally;
    tally.histogram.resize(size_t(job_.bins) + 2);
    const size_t cells = job_.measure == Measure::none ? 0 : size_t(width_ * width_);
    auto values = aligned_array<T>(int64_t(cells)), errors = aligned_array<T>(int64_t(cells));
    auto bins = aligned_array<int32_t>(int64_t(cells));
    std::vector<int32_t> near(job_.distances ? size_t(width_ * width_) : 0);
    for (int64_t q = across * task_panels; q < std::min((across + 1) * task_panels, right().count); ++q)
      for (int64_t p = down * task_panels; p < std::min((down + 1) * task_panels, left_.count); ++p) {
        if (within_ && p > q) continue;
        PairBlock<T> block{};
        block.left = left_.panels.get() + p * width_ * job_.x.d;
        block.right = right().panels.get() + q * width_ * job_.x.d;
        block.d = job_.x.d;
        block.left_squares = left_.squares.get() + p * width_;
        block.right_squares = right().squares.get() + q * width_;
        block.left_valid = int(std::min<int64_t>(width_, job_.x.n - p * width_));
        block.right_valid = int(std::min<int64_t>(width_, right_rows().n - q * width_));
        block.triangle = within_ && p == q;
        block.rates = job_.rates;
        block.rate_count = job_.rate_count;
        block.exp_sums = exp_sums_.data() + task * job_.rate_count;
        block.distance_sum = job_.distances ? &distance_sums_[size_t(task)] : nullptr;
        block.near = near.data();
        block.measure = job_.measure;
        block.rounding = rounding_;
        block.values = values.get();
        block.errors = errors.get();
        block.bins = job_.bins;
        block.low = T(low());
        block.per_unit = T(per_unit());
        block.open_low = job_.measure == Measure::distance ? low() <= 0 : job_.normalize && low() <= -1;
        block.open_high = job_.measure == Measure::cosine && job_.normalize && high() >= 1;
        block.bin = bins.get();
        {
          const InStage stage(Stage::product);
          product_.pairs(block);
        }
        const InStage stage(Stage::flush);
        for (int k = 0; k < block.near_count; ++k)
          distance_sums_[size_t(task)] +=
              exact(p * width_ + near[size_t(k)] / width_, q * width_ + near[size_t(k)] % width_, Measure::distance);
        if (job_.measure != Measure::none) inspect(block, p * width_, q * width_, tally);
      }
    if (job_.measure == Measure::none) return;
    const InStage stage(Stage::flush);
    std::sort(tally.examples.begin(), tally.examples.end());
    std::lock_guard<std::mutex> lock(mutex_);
    for (size_t k = 0; k < tally.histogram.size(); ++k) result_.histogram[k] += tally.histogram[k];
    result_.close += tally.close;
    examples_.insert(examples_.end(), tally.examples.begin(), tally.examples.end());
    keep_first(examples_, 4096);
    if (tally.best > best_ || (tally.best == best_ && tally.nearest < nearest_)) {
      best_ = tally.best;
      nearest_ = tally.nearest;
    }
  }

  // Drops all but the first examples, once there are enough of them to be worth sorting.
  void keep_first(std::vector<Pair>& pairs, size_t spare) const {
    if (pairs.size() <= size_t(job_.most_examples) + spare) return;
    std::nth_element(pairs.begin(), pairs.begin() + job_.most_examples, pairs.end());
    pairs.resize(size_t(job_.most_examples));
  }

  double low() const { return job_.bins ? job_.edges[0] : 0.0; }
  double high() const { return job_.bins ? job_.edges[job_.bins] : 0.0; }
  double per_unit() const { return job_.bins ? job_.bins / (high() - low()) : 0.0; }

  void inspect(const PairBlock<T>& block, int64_t first_left, int64_t first_right, Tally& tally) const {
    const bool edges = job_.bins > 0;
    const double wanted = sign_ * job_.threshold;
    for (int64_t i = 0; i < block.left_valid; ++i)
      for (int64_t j = block.triangle ? i + 1 : 0; j < block.right_valid; ++j) {
        const size_t cell = size_t(i * width_ + j);
        double value = double(block.values[cell]);
        const double error = double(block.errors[cell]);
        const double nearness = sign_ * value;
        const bool unsure_edge = edges && block.bin[cell] == bin_unsure;
        const bool unsure_threshold = job_.has_threshold && std::fabs(nearness - wanted) <= error;
        if (unsure_edge || unsure_threshold) value = exact(first_left + i, first_right + j);
        if (edges) ++tally.histogram[size_t(unsure_edge ? bin_of(value) : block.bin[cell])];
        if (job_.has_threshold && sign_ * value >= wanted) {
          ++tally.close;
          if (job_.most_examples > 0) {
            tally.examples.push_back({first_left + i, first_right + j});
            keep_first(tally.examples, 4096);
          }
        }
        const Pair pair{first_left + i, first_right + j};
        if (nearness > tally.best || (nearness == tally.best && pair < tally.nearest)) {
          tally.best = nearness;
          tally.nearest = pair;
        }
      }
  }

  // The bin of a float64 value; the last bin holds its upper edge. A cosine passes 1 by rounding alone.
  int64_t bin_of(double value) const {
    const double* end = job_.edges + job_.bins + 1;
    if (job_.measure == Measure::cosine && job_.normalize) value = std::min(1.0, std::max(-1.0, value));
    if (value == high()) return job_.bins;
    return std::upper_bound(job_.edges, end, value) - job_.edges;
  }

  const PairJob& job_;
  PairResult& result_;
  const Kernels& kernels_;
  const ProductKernels<T>& product_;
  const int64_t width_;
  const bool within_;
  const double sign_;
  T rounding_;
  Packed<T> left_, right_;
  std::vector<Pair> tasks_;
  std::vector<double> exp_sums_, distance_sums_;
  std::mutex mutex_;
  std::vector<Pair> examples_;
  double best_;
  Pair nearest_{-1, -1};
  std::atomic<bool> no_memory_{false};
};

}  // namespace

PairOutcome pair_sums(const PairJob& job, PairResult& result) {
  try {
    return job.doubles ? PairRunner<double>(job, result).run() : PairRunner<float>(job, result).run();
  } catch (const std::bad_alloc&) {
    return PairOutcome::no_memory;
  }
}

}  // namespace featdiv

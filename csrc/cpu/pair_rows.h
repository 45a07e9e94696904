// Rows of pair_sums on their way to products: norms of all of them first, then stretches packed feature by feature.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <vector>

#include "arrays.h"
#include "pair_sums.h"
#include "pool.h"
#include "stages.h"

namespace featdiv {

// Rows whose norms are taken by one task.
constexpr int64_t norm_rows = 256;

// A stretch of rows, normalised and shifted, packed feature by feature.
template <class T>
struct Packed {
  Array<T> panels;        // of rows that are not rounded
  Array<int32_t> words;   // of rounded ones, see rounded.h
  Array<T> squares;
  Array<float> units;
  Array<int32_t> offsets;  // of tapered rows, see tapered.h
  int64_t first = -1;  // number of the first panel; -1 for none yet
  int64_t count = 0;   // panels
};

// The panels of a set of rows: none crosses from one block of rows into the next.
struct Panels {
  struct Panel {
    int64_t first;  // row
    int rows, block;
  };
  std::vector<Panel> all;

  Panels(int64_t width, const int64_t* edges, int blocks) {
    for (int block = 0; block < blocks; ++block)
      for (int64_t first = edges[block]; first < edges[block + 1]; first += width)
        all.push_back({first, int(std::min(width, edges[block + 1] - first)), block});
  }

  int64_t count() const { return int64_t(all.size()); }
};

// One over the norm of each row, where rows are normalised, and whether all rows will do.
struct Norms {
  Array<double> inverse;
  Outcome outcome = Outcome::done;
};

// Looks at all rows before the first product, so that bad ones end the job early.
inline Norms take_norms(const PairJob& job, const Rows& rows, const Kernels& kernels) {
  Norms norms;
  if (job.normalize) norms.inverse = aligned_array<double>(rows.n);
  std::atomic<bool> infinite{false}, zero{false};
  parallel_for(job.threads, (rows.n + norm_rows - 1) / norm_rows, [&](int64_t task) {
    const InStage stage(Stage::pack);
    const Rows part = rows.slice(task * norm_rows, std::min(norm_rows, rows.n - task * norm_rows));
    double squares[norm_rows];
    const bool normal =
        kernels.square_norms(part.data, part.index, part.stride, part.n, part.d, part.element, squares);
    if (!normal) {
      const BadRows bad = find_bad_rows(part);
      if (bad.entries) infinite = true;
      if (bad.zeros) zero = true;
    }
    if (!job.normalize) return;
    double* inverse = norms.inverse.get() + task * norm_rows;
    if (normal)
      for (int64_t r = 0; r < part.n; ++r) inverse[r] = 1.0 / std::sqrt(squares[r]);
    else invert_norms(part, kernels, inverse);
  });
  if (infinite) norms.outcome = Outcome::not_finite;
  else if (zero && job.normalize) norms.outcome = Outcome::zero_norm;
  return norms;
}

template <class T>
class RowPacker {
 public:
  // `most` panels at a time.
  RowPacker(const PairJob& job, const Kernels& kernels, int64_t most)
      : job_(job), product_(kernels.product<T>()), width_(product_.panel_width), most_(most) {
    if constexpr (__is_same(T, float)) {
      rounded_ = job.rounded ? kernels.rounded : nullptr;
      tapered_ = job.rounded && job.basis ? kernels.tapered : nullptr;
    }
    const double most_exponent = tapered_ ? largest_tapered_exponent : largest_exponent;
    for (int rate = 0; rounded_ && rate < job.rate_count; ++rate)
      largest_square_ = std::min(largest_square_, most_exponent / job.rates[rate]);
    if (tapered_) take_basis();
    if (!job.shift) return;
    const int64_t d = job.x.d, padded = (d + width_ - 1) / width_ * width_;
    shift_ = aligned_array<double>(padded);
    std::fill_n(shift_.get(), padded, 0.0);
    std::copy_n(job.shift, d, shift_.get());
  }

  // Packs the panels from `first` on, unless they are there. `stream` is of the random numbers of rounding.
  PairOutcome pack(Packed<T>& packed, const Rows& rows, const Panels& panels, const Norms& norms, int64_t first,
                   uint32_t stream) {
    if (packed.first == first) return PairOutcome::done;
    packed.first = first;
    packed.count = std::min(most_, panels.count() - first);
    if (!packed.squares) {
      packed.squares = aligned_array<T>(packed.count * width_);
      if (rounded_) {
        packed.words = aligned_array<int32_t>(packed.count * width_ * words());
        packed.units = aligned_array<float>(packed.count * width_);
        if (tapered_) packed.offsets = aligned_array<int32_t>(packed.count * width_);
      } else {
        packed.panels = aligned_array<T>(packed.count * width_ * rows.d);
      }
    }
    std::atomic<Outcome> worst{Outcome::done};
    std::mutex mutex;
    parallel_for(job_.threads, packed.count, [&](int64_t panel) {
      try {
        const Panels::Panel& at = panels.all[size_t(first + panel)];
        const double peak = pack_panel(packed, panel, rows.slice(at.first, at.rows), at.first, norms, stream, worst);
        const T* const squares = packed.squares.get() + panel * width_;
        const double square = double(*std::max_element(squares, squares + width_));
        std::lock_guard<std::mutex> lock(mutex);
        peak_ = std::max(peak_, peak);
        square_ = std::max(square_, square);
      } catch (const std::bad_alloc&) {
        worst.store(Outcome::no_memory);
      }
    });
    if (worst.load() != Outcome::done) return PairOutcome(int(worst.load()));
    return peak_ <= largest_peak && square_ <= largest_square_ ? PairOutcome::done : PairOutcome::out_of_range;
  }

  // Whether squares of the rows packed so far have vanished. They do no harm beside large ones.
  bool vanished() const { return peak_ != 0 && peak_ < smallest_peak; }

  // Values of 32 bits in a panel for each of its rows, where rows are rounded.
  int64_t words() const { return tapered_ ? tapered_->words(job_.x.d, job_.lead) : rounded_->words(job_.x.d); }

 private:
  // Magnitudes whose squares neither overflow nor vanish, and a sum of squares of which four do not overflow.
  static constexpr double largest_peak = sizeof(T) == sizeof(float) ? 0x1p55 : 0x1p490;
  static constexpr double smallest_peak = sizeof(T) == sizeof(float) ? 0x1p-40 : 0x1p-450;
  static constexpr double largest_square = sizeof(T) == sizeof(float) ? 0x1p125 : 0x1p1021;
  // Of rounded rows: a squared norm times a rate. The logarithm of a term has a standard deviation of 6.2e-5 times that
  // at most, and its mean over terms is off by half the square of it: 3e-5.
  static constexpr double largest_exponent = 128;
  // Of tapered ones. Beyond it a few near pairs may outweigh all others, and errors of few do not cancel.
  static constexpr double largest_tapered_exponent = 8;

  // Packs one panel and returns its largest magnitude.
  double pack_panel(Packed<T>& packed, int64_t panel, const Rows& part, int64_t first_row, const Norms& norms,
                    uint32_t stream, std::atomic<Outcome>& worst) const {
    const InStage stage(Stage::pack);
    const int64_t n = part.n, d = part.d, padded = (d + width_ - 1) / width_ * width_;
    auto by_row = aligned_array<T>(padded * width_);
    auto total = aligned_array<double>(padded);
    auto peaks = aligned_array<T>(padded);
    std::fill_n(peaks.get(), padded, T(0));
    PackBlock<T> block{};
    block.rows = part.data;
    block.index = part.index;
    block.row_stride = part.stride;
    block.n = n;
    block.d = d;
    block.element = part.element;
    block.panels = by_row.get();
    block.panel_stride = width_ * width_;
    block.wide = true;
    block.shift = shift_.get();
    block.inverse_norm = job_.normalize ? norms.inverse.get() + first_row : nullptr;
    block.total = total.get();
    block.peak = peaks.get();
    // They were finite a moment ago, when their norms were taken.
    if (!product_.pack(block)) worst.store(Outcome::not_finite);
    if (rounded_) {
      if constexpr (__is_same(T, float)) round(packed, panel, by_row.get(), n, stream, first_row);
    } else {
      turn(by_row.get(), n, d, packed.panels.get() + panel * width_ * d);
    }
    T* const squares = packed.squares.get() + panel * width_;
    for (int64_t r = 0; r < width_; ++r) squares[r] = r < n ? T(packed_square(by_row.get(), width_, d, r)) : T(0);
    return double(*std::max_element(peaks.get(), peaks.get() + d));
  }

  void round(Packed<float>& packed, int64_t panel, float* by_row, int64_t n, uint32_t stream, int64_t first_row) const {
    const int64_t d = job_.x.d;
    RoundBlock block{};
    block.by_row = by_row;
    block.panel_stride = width_ * width_;
    block.n = n;
    block.d = d;
    block.stream = stream;
    block.first_row = first_row;
    block.words = packed.words.get() + panel * width_ * words();
    block.units = packed.units.get() + panel * width_;
    if (!tapered_) return rounded_->round(block);
    auto columns = aligned_array<float>(d * width_);
    turn(by_row, n, d, columns.get());
    tapered_->turn(columns.get(), basis_.get(), d, by_row);
    block.lead = job_.lead;
    block.offsets = packed.offsets.get() + panel * width_;
    tapered_->round(block);
  }

  // Panels of as many columns as rows have, feature by feature.
  void take_basis() {
    const int64_t d = job_.x.d, panels = (d + width_ - 1) / width_;
    basis_ = aligned_array<float>(panels * width_ * d);
    for (int64_t panel = 0; panel < panels; ++panel)
      for (int64_t k = 0; k < d; ++k)
        for (int64_t j = 0; j < width_; ++j) {
          const int64_t column = panel * width_ + j;
          basis_[(panel * d + k) * width_ + j] = column < d ? job_.basis[k * d + column] : 0.0f;
        }
  }

  // A square of rows and features at a time stays in the first-level cache while it is turned.
  void turn(const T* by_row, int64_t n, int64_t d, T* out) const {
    for (int64_t first = 0; first < d; first += width_) {
      const int64_t features = std::min(width_, d - first);
      const T* from = by_row + first * width_;
      for (int64_t r = 0; r < n; ++r)
        for (int64_t j = 0; j < features; ++j) out[(first + j) * width_ + r] = from[r * width_ + j];
      for (int64_t j = first; j < first + features; ++j) std::fill(out + j * width_ + n, out + (j + 1) * width_, T(0));
    }
  }

  const PairJob& job_;
  const ProductKernels<T>& product_;
  const int64_t width_, most_;
  const RoundedKernels* rounded_ = nullptr;
  const TaperedKernels* tapered_ = nullptr;
  Array<float> basis_;  // as `turn_into_basis` takes it
  Array<double> shift_;
  double largest_square_ = largest_square;
  double peak_ = 0, square_ = 0;  // largest magnitude and squared norm of the rows packed so far
};

}  // namespace featdiv

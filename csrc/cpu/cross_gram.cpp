#include "cross_gram.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "tile_scatter.h"

namespace featdiv {
namespace {

// One set of features of a tile of rows: its columns prepared once, its rows packed tile by tile.
template <class T>
class PackedSide {
 public:
  PackedSide(const CrossSide& side, bool normalize, int width, const Split& split)
      : side_(side), normalize_(normalize), width_(width), split_(split) {
    const int64_t d = side.rows.d;
    blocks_ = (d + split_width - 1) / split_width;
    panels_ = (d + width - 1) / width;
    padded_ = panels_ * width;
    bool exact = fits_float(side.rows.element) && sizeof(T) == sizeof(float) && !normalize;
    if (side.shift) {
      shift_ = filled(0.0);
      std::copy_n(side.shift, d, shift_.get());
      shift32_ = narrowed(shift_);
      for (int64_t j = 0; j < d; ++j) exact = exact && double(shift32_[size_t(j)]) == side.shift[j];
    }
    if (side.exponent) {
      scale_ = filled(1.0);
      for (int64_t j = 0; j < d; ++j) {
        scale_[size_t(j)] = std::ldexp(1.0, side.exponent[j]);
        exact = exact && std::abs(side.exponent[j]) <= 126;
      }
      scale32_ = narrowed(scale_);
    }
    wide_ = !exact;
  }

  // Room for tiles of up to `rows` rows.
  void reserve(int64_t rows) {
    const int64_t blocks = (rows + pack_rows - 1) / pack_rows;
    rows_ = blocks * pack_rows;
    if (split_.kernels) {
      terms_ = aligned_array<uint16_t>(blocks_ * split_width * rows_ * split_.terms);
      square_ = aligned_array<double>(blocks * blocks_ * split_width);
      diagonal_ = aligned_array<double>(side_.rows.d);
    }
    if (!split_.kernels || side_.weighted) values_ = aligned_array<T>(padded_ * rows_);
    total_ = aligned_array<double>(blocks * padded_);
    peak_ = aligned_array<T>(blocks * padded_);
    if (side_.weighted) weighted_ = aligned_array<double>(blocks * padded_);
    if (normalize_) inverse_norm_ = aligned_array<double>(rows_);
    outcome_.assign(size_t(blocks), Outcome::done);
  }

  // Packs block `task` of the tile that starts at row `first`.
  void pack(const Kernels& kernels, int64_t first, int64_t task, int64_t n) {
    Rows rows = side_.rows.slice(first + task * pack_rows, n);
    Outcome& outcome = outcome_[size_t(task)];
    outcome = Outcome::done;
    double* inverse_norm = nullptr;
    if (normalize_) {
      inverse_norm = inverse_norm_.get() + task * pack_rows;
      invert_norms(rows, kernels, inverse_norm);
      for (int64_t r = 0; r < n; ++r)
        if (std::isinf(inverse_norm[r])) outcome = Outcome::zero_norm;
    }
    PackBlock<T> block{};
    block.rows = rows.data;
    block.index = rows.index;
    block.row_stride = rows.stride;
    block.n = n;
    block.d = rows.d;
    block.element = rows.element;
    block.panels = values_ ? values_.get() + task * pack_rows * width_ : nullptr;
    block.panel_stride = stride();
    block.wide = wide_;
    block.shift = shift_.get();
    block.scale = scale_.get();
    block.shift32 = shift32_.get();
    block.scale32 = scale32_.get();
    block.inverse_norm = inverse_norm;
    block.total = total_.get() + task * padded_;
    block.peak = peak_.get() + task * padded_;
    if (!pack(kernels.product<T>(), block, task)) outcome = Outcome::not_finite;
  }

  // The diagonal of the side's product with itself, for one of its blocks: what the terms make of sums of squares.
  void multiply_own(int64_t block, int64_t n) {
    const int64_t first = block * split_width;
    std::fill_n(diagonal_.get() + first, std::min<int64_t>(split_width, side_.rows.d - first), 0.0);
    const SplitRange only{block, block + 1};
    split_.kernels->multiply({terms(), terms(), rows_ / tile_depth, (n + tile_depth - 1) / tile_depth, split_.terms,
                              split_.all, only, only, 1.0, nullptr, diagonal_.get()});
  }

  bool holds(int64_t blocks) const {
    return !certified_squares(square_.get(), blocks, blocks_ * split_width, side_.rows.d, diagonal_.get(),
                              split_.tolerance)
                .empty();
  }

  WeighedSide<T> weighed(int64_t task) {
    double* weighted = weighted_.get() + task * padded_;
    std::fill_n(weighted, padded_, 0.0);
    return {values_.get() + task * pack_rows * width_, side_.rows.d, weighted};
  }

  Outcome outcome(int64_t blocks) const {
    Outcome worst = Outcome::done;
    for (int64_t task = 0; task < blocks; ++task) {
      if (outcome_[size_t(task)] == Outcome::not_finite) return Outcome::not_finite;
      if (outcome_[size_t(task)] != Outcome::done) worst = outcome_[size_t(task)];
    }
    return worst;
  }

  // Whether products of the tile, and their sums, stay normal floats.
  bool is_tame(int64_t blocks) const {
    const T smallest = T(split_.kernels ? smallest_split_peak : smallest_peak);
    for (int64_t j = 0; j < side_.rows.d; ++j) {
      T peak = 0;
      for (int64_t task = 0; task < blocks; ++task) peak = std::max(peak, peak_[size_t(task * padded_ + j)]);
      if (peak != 0 && !(peak >= smallest && peak <= T(largest_peak))) return false;
    }
    return true;
  }

  // Adds the sums of the blocks, always in the order of the rows.
  void reduce(int64_t blocks) const {
    for (int64_t task = 0; task < blocks; ++task)
      for (int64_t j = 0; j < side_.rows.d; ++j) {
        side_.total[j] += total_[size_t(task * padded_ + j)];
        if (side_.weighted) side_.weighted[j] += weighted_[size_t(task * padded_ + j)];
      }
  }

  const T* values() const { return values_.get(); }
  int64_t stride() const { return rows_ * width_; }
  SplitSide terms() const { return {terms_.get(), side_.rows.d}; }
  int64_t rows() const { return rows_; }
  int64_t blocks() const { return blocks_; }
  int64_t panels() const { return panels_; }
  int64_t padded() const { return padded_; }

 private:
  bool pack(const ProductKernels<T>& product, const PackBlock<T>& block, int64_t task) {
    if constexpr (sizeof(T) == sizeof(float)) {
      if (split_.kernels) {
        uint16_t* out = terms_.get() + task * (pack_rows / tile_depth) * split_.terms * tile_values;
        return pack_terms(block, product, split_, out, rows_ / tile_depth,
                          square_.get() + task * blocks_ * split_width);
      }
    }
    return product.pack(block);
  }

  Array<double> filled(double value) const {
    auto array = aligned_array<double>(padded_);
    std::fill_n(array.get(), padded_, value);
    return array;
  }

  Array<float> narrowed(const Array<double>& wide) const {
    auto array = aligned_array<float>(padded_);
    std::copy_n(wide.get(), padded_, array.get());
    return array;
  }

  const CrossSide& side_;
  const bool normalize_;
  const int width_;
  const Split split_;
  int64_t blocks_, panels_, padded_, rows_ = 0;
  bool wide_;
  Array<double> shift_, scale_, total_, weighted_, inverse_norm_;
  Array<float> shift32_, scale32_;
  Array<T> values_, peak_;
  Array<uint16_t> terms_;            // instead of values, where there is a split
  Array<double> square_, diagonal_;  // sums of squares by block of rows; the diagonal of the product
  std::vector<Outcome> outcome_;
};

template <class T>
class CrossRunner {
 public:
  CrossRunner(const CrossJob& job, const Kernels& kernels)
      : job_(job),
        kernels_(kernels),
        product_(kernels.product<T>()),
        split_(choose(job, kernels)),
        left_(job.left, job.normalize, product_.panel_width, split_),
        right_(job.right, job.normalize, product_.panel_width, split_) {
    const int64_t row_bytes =
        split_.kernels ? (left_.blocks() + right_.blocks()) * split_width * split_.terms * int64_t(sizeof(uint16_t))
                       : (left_.padded() + right_.padded()) * int64_t(sizeof(T));
    const int64_t fitting = tile_bytes / row_bytes / flush_rows * flush_rows;
    tile_rows_ = std::min(std::min<int64_t>(std::max<int64_t>(fitting, flush_rows), 8 * flush_rows), job.left.rows.n);
    left_.reserve(tile_rows_);
    right_.reserve(tile_rows_);
    fourth_.resize(size_t((tile_rows_ + pack_rows - 1) / pack_rows));
    plan_blocks();
  }

  Status run() {
    Status status;
    const int64_t n = job_.left.rows.n;
    for (int64_t first = 0; first < n; first += tile_rows_) {
      const int64_t m = std::min(tile_rows_, n - first), blocks = (m + pack_rows - 1) / pack_rows;
      parallel_for(job_.threads, blocks,
                   [&](int64_t task) { pack(first, task, std::min(pack_rows, m - task * pack_rows)); });
      const Outcome left = left_.outcome(blocks), right = right_.outcome(blocks);
      status.outcome = left == Outcome::done || right == Outcome::not_finite ? right : left;
      if (status.outcome != Outcome::done) return status;
      ++status.tiles;
      if (sizeof(T) == sizeof(float) && !(left_.is_tame(blocks) && right_.is_tame(blocks) && certify(m, blocks))) {
        ++status.tiles_in_doubles;
        status.outcome = in_doubles(first, m);
        if (status.outcome != Outcome::done) return status;
        continue;
      }
      {
        const InStage stage(Stage::flush);
        left_.reduce(blocks);
        right_.reduce(blocks);
        if (job_.fourth)
          for (int64_t task = 0; task < blocks; ++task) *job_.fourth += fourth_[size_t(task)];
      }
      parallel_for(job_.threads, int64_t(split_.kernels ? rectangles_.size() : plan_.size()), [&](int64_t task) {
        const InStage stage(Stage::product);
        multiply(task, m);
      });
    }
    return status;
  }

 private:
  static Split choose(const CrossJob& job, const Kernels& kernels) {
    const auto changed = [](const CrossSide& side) { return side.shift || side.exponent; };
    const bool as_they_are = !changed(job.left) && !changed(job.right) && !job.normalize;
    if (sizeof(T) != sizeof(float)) return {};
    return choose_split(kernels.split, job.left.rows.element, as_they_are, job.bound);
  }

  void multiply(int64_t task, int64_t m) const {
    if (split_.kernels) {
      const Rectangle& part = rectangles_[size_t(task)];
      return split_.kernels->multiply({left_.terms(), right_.terms(), left_.rows() / tile_depth,
                                       (m + tile_depth - 1) / tile_depth, split_.terms, split_.all, part.rows,
                                       part.columns, 1.0, job_.gram, nullptr});
    }
    product_.gram({left_.values(), right_.values(), left_.stride(), m, job_.left.rows.d, job_.right.rows.d, job_.gram},
                  plan_[size_t(task)]);
  }

  // Whether the terms of both sides stand for their rows, before they are multiplied with one another.
  bool certify(int64_t m, int64_t blocks) {
    if (!split_.kernels) return true;
    parallel_for(job_.threads, left_.blocks() + right_.blocks(), [&](int64_t task) {
      const InStage stage(Stage::product);
      if (task < left_.blocks()) left_.multiply_own(task, m);
      else right_.multiply_own(task - left_.blocks(), m);
    });
    return left_.holds(blocks) && right_.holds(blocks);
  }

  void pack(int64_t first, int64_t task, int64_t n) {
    const InStage stage(Stage::pack);
    left_.pack(kernels_, first, task, n);
    right_.pack(kernels_, first, task, n);
    if (!job_.fourth) return;
    fourth_[size_t(task)] = 0;
    product_.cross_weigh(left_.weighed(task), right_.weighed(task), left_.stride(), n, &fourth_[size_t(task)]);
  }

  Outcome in_doubles(int64_t first, int64_t m) const {
    CrossJob part = job_;
    part.left.rows = job_.left.rows.slice(first, m);
    part.right.rows = job_.right.rows.slice(first, m);
    return CrossRunner<double>(part, kernels_).run().outcome;
  }

  // Panel by panel of the right-hand side, so that it stays in the second-level cache; with few of them, blocks are
  // cut into groups of rows, to have enough tasks for every thread.
  void plan_blocks() {
    if (split_.kernels) {
      rectangles_ = plan_rectangles(left_.blocks(), right_.blocks(), false, job_.threads);
      return;
    }
    const int groups = product_.panel_width / product_.micro_rows;
    const bool many = left_.panels() * right_.panels() >= 8 * job_.threads;
    const int step = many ? groups : std::max(1, groups / 3);
    for (int64_t right = 0; right < right_.panels(); ++right)
      for (int64_t left = 0; left < left_.panels(); ++left)
        for (int group = 0; group < groups; group += step)
          if (job_.left.rows.d > left * product_.panel_width + group * product_.micro_rows)
            plan_.push_back({left, right, group, step});
  }

  const CrossJob& job_;
  const Kernels& kernels_;
  const ProductKernels<T>& product_;
  const Split split_;
  PackedSide<T> left_, right_;
  int64_t tile_rows_;
  std::vector<double> fourth_;
  std::vector<GramBlock> plan_;
  std::vector<Rectangle> rectangles_;
};

}  // namespace

Status cross_gram(const CrossJob& job) {
  try {
    const Kernels& k = kernels(job.isa);
    return job.doubles ? CrossRunner<double>(job, k).run() : CrossRunner<float>(job, k).run();
  } catch (const std::bad_alloc&) {
    return {Outcome::no_memory, 0, 0};
  }
}

}  // namespace featdiv

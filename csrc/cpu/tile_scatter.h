// Scatter of one job in one working precision: tiles of rows are packed while the tile before is multiplied. Where the
// job has a `split`, packed floats become bfloat16 terms at once, and their products are certified: the diagonal must
// agree with sums of squares, which then take its place; a tile for which it does not is taken back.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>
#include <vector>

#include "arrays.h"
#include "pool.h"
#include "scatter.h"
#include "stages.h"
#include "tile_plan.h"

namespace featdiv {

// Packed bytes of one tile of rows that the caches still hold while it is multiplied.
constexpr int64_t tile_bytes = int64_t{4} << 20;
// Magnitudes between which 512 products and their sums stay normal floats.
constexpr double smallest_peak = 0x1p-58, largest_peak = 0x1p58;
// The same for units that take denormals for zero: what they lose of each sum is below 2^-126.
constexpr double smallest_split_peak = 0x1p-42;

// What the packing of one tile leaves behind.
template <class T>
struct Tile {
  Array<T> panels;
  Array<double> total, weighted, fourth, inverse_norm;  // by block of `pack_rows` rows
  Array<T> peak;
  std::vector<char> finite, zero;
  Array<uint16_t> terms;           // instead of panels, where the job has a split
  Array<double> square, diagonal;  // sums of squares by block of rows; the diagonal of the product
  int64_t first = 0, n = 0;
};

// Runs scatter jobs of one shape, one after another, in the working precision T.
template <class T>
class TileScatter {
 public:
  // Room for jobs of up to `most_rows` rows that are otherwise like `like`.
  TileScatter(const ScatterJob& like, int64_t most_rows, const Kernels& kernels)
      : job_(&like),
        kernels_(kernels),
        product_(kernels.product<T>()),
        split_(sizeof(T) == sizeof(float) ? like.split : Split{}),
        width_(product_.panel_width) {
    const int64_t d = like.rows.d;
    features_ = (d + split_width - 1) / split_width * split_width;
    panels_ = (d + width_ - 1) / width_;
    padded_ = panels_ * width_;
    const int64_t row_bytes =
        split_.kernels ? features_ * split_.terms * int64_t(sizeof(uint16_t)) : padded_ * int64_t(sizeof(T));
    const int64_t fitting = tile_bytes / row_bytes / flush_rows * flush_rows;
    tile_rows_ = std::min<int64_t>(std::max<int64_t>(fitting, flush_rows), 8 * flush_rows);
    tile_rows_ = std::min(tile_rows_, (most_rows + pack_rows - 1) / pack_rows * pack_rows);
    blocks_ = tile_rows_ / pack_rows;
    for (auto& tile : tiles_) {
      if (split_.kernels) {
        tile.terms = aligned_array<uint16_t>(features_ * tile_rows_ * split_.terms);
        tile.square = aligned_array<double>(blocks_ * features_);
        tile.diagonal = aligned_array<double>(features_);
      }
      if (!split_.kernels || like.weighted) tile.panels = aligned_array<T>(padded_ * tile_rows_);
      tile.total = aligned_array<double>(blocks_ * padded_);
      tile.peak = aligned_array<T>(blocks_ * padded_);
      tile.finite.resize(size_t(blocks_));
      tile.zero.resize(size_t(blocks_));
      if (like.normalize) tile.inverse_norm = aligned_array<double>(tile_rows_);
      if (like.weighted) {
        tile.weighted = aligned_array<double>(blocks_ * padded_);
        tile.fourth = aligned_array<double>(blocks_);
      }
      if (most_rows <= tile_rows_) break;
    }
    shift_ = aligned_array<double>(padded_);
    scale_ = aligned_array<double>(padded_);
    shift32_ = aligned_array<float>(padded_);
    scale32_ = aligned_array<float>(padded_);
    plan_blocks(like.threads);
  }

  // Mean of the first rows of a job (one tile at most), without its shift and exponents.
  Outcome pilot(const ScatterJob& job, double* mean) {
    ScatterJob plain = job;
    plain.shift = nullptr;
    plain.exponent = nullptr;
    job_ = &plain;
    prepare_columns();
    Tile<T>& tile = tiles_[0];
    start(tile, 0);
    for (int64_t task = 0; task < pack_tasks(tile); ++task) pack(tile, task, false);
    const Outcome outcome = check(tile);
    std::fill_n(mean, job.rows.d, 0.0);
    for (int64_t task = 0; task < pack_tasks(tile); ++task)
      for (int64_t j = 0; j < job.rows.d; ++j) mean[j] += tile.total[size_t(task * padded_ + j)] / double(tile.n);
    job_ = &job;
    return outcome;
  }

  // Whether a job is of one tile whose sums need no room in memory.
  bool takes_whole(int64_t n) const { return n <= (split_.kernels ? flush_steps * tile_depth : tile_rows_); }

  // Such a job to its end: the scatter about the mean, written once. False, with nothing of use written, where float32
  // products could overflow or underflow, or are not what their certificate says.
  bool run_whole(const ScatterJob& job, const Centring& centring, Outcome& outcome) {
    job_ = &job;
    prepare_columns();
    Tile<T>& tile = tiles_[0];
    start(tile, 0);
    parallel_for(job.threads, pack_tasks(tile), [&](int64_t task) { pack(tile, task); });
    outcome = check(tile);
    if (outcome != Outcome::done) return true;
    if (sizeof(T) == sizeof(float) && !is_tame(tile)) return false;
    reduce(tile);
    centring.take_means(job.rows.n);
    if (split_.kernels) std::fill_n(tile.diagonal.get(), features_, 0.0);
    parallel_for(job.threads, product_tasks(), [&](int64_t task) {
      const InStage stage(Stage::product);
      if (split_.kernels) split_.kernels->multiply(split_product(tile, task, 1.0, &centring));
      else product_.centred(panel_product(tile), plan_[size_t(task)], centring);
      finish_lines();
    });
    if (!split_.kernels) return true;
    const std::vector<double> square = certified(tile);
    for (int64_t j = 0; j < int64_t(square.size()); ++j) {
      const double about_mean = square[size_t(j)] - centring.mean[j] * centring.total[j];
      write_diagonal(centring, j, std::max(0.0, about_mean));
    }
    return !square.empty();
  }

  // Tiles whose float32 products could overflow or underflow are left out and listed in `untamed`.
  Status run(const ScatterJob& job, std::vector<std::pair<int64_t, int64_t>>* untamed) {
    Status status;
    job_ = &job;
    prepare_columns();
    start(tiles_[0], 0);
    parallel_for(job_->threads, pack_tasks(tiles_[0]), [&](int64_t task) { pack(tiles_[0], task); });
    for (int current = 0;; current ^= 1) {
      Tile<T>& tile = tiles_[current];
      Tile<T>& next = tiles_[current ^ 1];
      if (const Outcome outcome = check(tile); outcome != Outcome::done) return {outcome, 0, 0};
      ++status.tiles;
      const bool tame = !untamed || is_tame(tile);
      const int64_t products = tame ? product_tasks() : 0;
      if (split_.kernels) std::fill_n(tile.diagonal.get(), features_, 0.0);
      const bool more = tile.first + tile.n < job_->rows.n;
      if (more) start(next, tile.first + tile.n);
      const int64_t packs = more ? pack_tasks(next) : 0;
      // Packing waits for memory and multiplying does not, so the two kinds of task are dealt out evenly mixed.
      const int64_t tasks = products + packs;
      parallel_for(job_->threads, tasks, [&](int64_t task) {
        const int64_t before = task * packs / tasks;
        if ((task + 1) * packs / tasks > before) return pack(next, before);
        const InStage stage(Stage::product);
        multiply(tile, task - before, 1.0);
      });
      if (tame && (!split_.kernels || holds(tile))) {
        reduce(tile);
      } else if (untamed) {
        // Products are the same each time, so what was added can be taken back.
        parallel_for(job_->threads, products, [&](int64_t task) { multiply(tile, task, -1.0); });
        untamed->emplace_back(tile.first, tile.n);
      }
      if (!more) return status;
    }
  }

 private:
  void prepare_columns() {
    const int64_t d = job_->rows.d;
    bool exact = fits_float(job_->rows.element) && sizeof(T) == sizeof(float) && !job_->normalize;
    if (job_->shift) {
      std::fill_n(shift_.get(), padded_, 0.0);
      std::copy_n(job_->shift, d, shift_.get());
      for (int64_t j = 0; j < d; ++j) exact = exact && double(float(job_->shift[j])) == job_->shift[j];
      std::copy_n(shift_.get(), padded_, shift32_.get());
    }
    if (job_->exponent) {
      std::fill_n(scale_.get(), padded_, 1.0);
      for (int64_t j = 0; j < d; ++j) {
        scale_[size_t(j)] = std::ldexp(1.0, job_->exponent[j]);
        exact = exact && std::abs(job_->exponent[j]) <= 126;
      }
      std::copy_n(scale_.get(), padded_, scale32_.get());
    }
    wide_ = !exact;
  }

  // Blocks of the triangle, panel by panel of the right-hand side, so that it stays in the second-level cache. With
  // few panels a block is cut into its groups of rows, to have enough tasks for every thread.
  void plan_blocks(int threads) {
    if (split_.kernels) {
      rectangles_ = plan_rectangles(features_ / split_width, features_ / split_width, true, threads);
      return;
    }
    const int groups = width_ / product_.micro_rows;
    const int step = panels_ * (panels_ + 1) / 2 >= 8 * threads ? groups : std::max(1, groups / 3);
    for (int64_t right = 0; right < panels_; ++right)
      for (int64_t left = 0; left <= right; ++left)
        for (int group = 0; group < groups; group += step) {
          if (job_->rows.d > left * width_ + group * product_.micro_rows) plan_.push_back({left, right, group, step});
        }
  }

  int64_t product_tasks() const { return int64_t(split_.kernels ? rectangles_.size() : plan_.size()); }

  void multiply(const Tile<T>& tile, int64_t task, double sign) {
    if (split_.kernels) split_.kernels->multiply(split_product(tile, task, sign, nullptr));
    else product_.gram(panel_product(tile), plan_[size_t(task)]);
  }

  SplitProduct split_product(const Tile<T>& tile, int64_t task, double sign, const Centring* centring) const {
    const SplitSide side{tile.terms.get(), job_->rows.d};
    const Rectangle& part = rectangles_[size_t(task)];
    return {side, side, tile_rows_ / tile_depth, (tile.n + tile_depth - 1) / tile_depth,
            split_.terms, split_.all, part.rows, part.columns, sign, centring ? nullptr : job_->gram,
            sign > 0 ? tile.diagonal.get() : nullptr, centring};
  }

  PanelProduct<T> panel_product(const Tile<T>& tile) const {
    const T* panels = tile.panels.get();
    return {panels, panels, tile_rows_ * width_, tile.n, job_->rows.d, job_->rows.d, job_->gram};
  }

  void start(Tile<T>& tile, int64_t first) {
    tile.first = first;
    tile.n = std::min(tile_rows_, job_->rows.n - first);
  }

  int64_t pack_tasks(const Tile<T>& tile) const { return (tile.n + pack_rows - 1) / pack_rows; }

  // Without `terms`, rows are summed alone where the job has a split.
  void pack(Tile<T>& tile, int64_t task, bool terms = true) {
    const InStage stage(Stage::pack);
    const int64_t row = task * pack_rows;
    const int64_t n = std::min(pack_rows, tile.n - row);
    double* inverse_norm = nullptr;
    tile.zero[size_t(task)] = 0;
    if (job_->normalize) {
      inverse_norm = tile.inverse_norm.get() + row;
      invert_norms(job_->rows.slice(tile.first + row, n), kernels_, inverse_norm);
      for (int64_t r = 0; r < n; ++r) tile.zero[size_t(task)] |= std::isinf(inverse_norm[r]);
    }
    PackBlock<T> block{};
    const Rows rows = job_->rows.slice(tile.first + row, n);
    block.rows = rows.data;
    block.index = rows.index;
    block.row_stride = rows.stride;
    block.n = n;
    block.d = rows.d;
    block.element = rows.element;
    block.panels = tile.panels ? tile.panels.get() + row * width_ : nullptr;
    block.panel_stride = tile_rows_ * width_;
    block.wide = wide_;
    block.shift = job_->shift ? shift_.get() : nullptr;
    block.scale = job_->exponent ? scale_.get() : nullptr;
    block.shift32 = job_->shift ? shift32_.get() : nullptr;
    block.scale32 = job_->exponent ? scale32_.get() : nullptr;
    block.inverse_norm = inverse_norm;
    block.total = tile.total.get() + task * padded_;
    block.peak = tile.peak.get() + task * padded_;
    tile.finite[size_t(task)] = pack(block, tile, task, terms);
    if (job_->weighted) {
      double* weighted = tile.weighted.get() + task * padded_;
      std::fill_n(weighted, padded_, 0.0);
      tile.fourth[size_t(task)] = 0;
      product_.weigh(block.panels, block.panel_stride, n, job_->rows.d, weighted, &tile.fourth[size_t(task)]);
    }
  }

  bool pack(const PackBlock<T>& block, Tile<T>& tile, int64_t task, bool terms) {
    if constexpr (sizeof(T) == sizeof(float)) {
      if (split_.kernels) {
        uint16_t* out = tile.terms.get() + task * (pack_rows / tile_depth) * split_.terms * tile_values;
        double* square = tile.square.get() + task * features_;
        return pack_terms(block, product_, split_, terms ? out : nullptr, tile_rows_ / tile_depth, square);
      }
    }
    return product_.pack(block);
  }

  // Whether the diagonal of the product agrees with the sums of squares; adds these in its place if it does.
  bool holds(const Tile<T>& tile) {
    const std::vector<double> square = certified(tile);
    for (int64_t j = 0; j < int64_t(square.size()); ++j) job_->gram[j * job_->rows.d + j] += square[size_t(j)];
    return !square.empty();
  }

  std::vector<double> certified(const Tile<T>& tile) const {
    return certified_squares(tile.square.get(), pack_tasks(tile), features_, job_->rows.d, tile.diagonal.get(),
                             split_.tolerance);
  }

  Outcome check(const Tile<T>& tile) const {
    Outcome outcome = Outcome::done;
    for (int64_t task = 0; task < pack_tasks(tile); ++task) {
      if (!tile.finite[size_t(task)]) return Outcome::not_finite;
      if (tile.zero[size_t(task)]) outcome = Outcome::zero_norm;
    }
    return outcome;
  }

  bool is_tame(const Tile<T>& tile) const {
    const T smallest = T(split_.kernels ? smallest_split_peak : smallest_peak);
    for (int64_t first = 0; first < job_->rows.d; first += 256) {
      const int64_t count = std::min<int64_t>(256, job_->rows.d - first);
      T peak[256] = {};
      for (int64_t task = 0; task < pack_tasks(tile); ++task) {
        const T* block = tile.peak.get() + task * padded_ + first;
        for (int64_t j = 0; j < count; ++j) peak[j] = block[j] > peak[j] ? block[j] : peak[j];
      }
      for (int64_t j = 0; j < count; ++j)
        if (peak[j] != 0 && !(peak[j] >= smallest && peak[j] <= T(largest_peak))) return false;
    }
    return true;
  }

  // Adds the sums of the blocks, always in the order of the rows.
  void reduce(const Tile<T>& tile) {
    const InStage stage(Stage::flush);
    for (int64_t task = 0; task < pack_tasks(tile); ++task) {
      const double* total = tile.total.get() + task * padded_;
      for (int64_t j = 0; j < job_->rows.d; ++j) job_->total[j] += total[j];
      if (!job_->weighted) continue;
      const double* weighted = tile.weighted.get() + task * padded_;
      for (int64_t j = 0; j < job_->rows.d; ++j) job_->weighted[j] += weighted[j];
      *job_->fourth += tile.fourth[size_t(task)];
    }
  }

  const ScatterJob* job_;
  const Kernels& kernels_;
  const ProductKernels<T>& product_;
  const Split split_;
  const int width_;
  int64_t panels_, padded_, features_, tile_rows_, blocks_;
  bool wide_ = false;
  Array<double> shift_, scale_;
  Array<float> shift32_, scale32_;
  Tile<T> tiles_[2];
  std::vector<GramBlock> plan_;
  std::vector<Rectangle> rectangles_;
};

// Multiplies in double the tiles that `run` left out.
inline Outcome run_untamed(const ScatterJob& job, const std::vector<std::pair<int64_t, int64_t>>& untamed,
                           const Kernels& kernels) {
  for (const auto& [first, n] : untamed) {
    ScatterJob part = job;
    part.rows = job.rows.slice(first, n);
    const Outcome outcome = TileScatter<double>(part, n, kernels).run(part, nullptr).outcome;
    if (outcome != Outcome::done) return outcome;
  }
  return Outcome::done;
}

}  // namespace featdiv

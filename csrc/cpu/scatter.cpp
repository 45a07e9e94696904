#include "scatter.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "pool.h"

namespace featdiv {
namespace {

// Rows packed by one task.
constexpr int64_t pack_rows = 64;
// Packed bytes of one tile of rows that the caches still hold while it is multiplied.
constexpr int64_t tile_bytes = int64_t{4} << 20;
// Magnitudes between which 512 products and their sums stay normal floats.
constexpr double smallest_peak = 0x1p-58, largest_peak = 0x1p58;

struct Freed {
  void operator()(void* p) const { std::free(p); }
};

template <class T>
std::unique_ptr<T[], Freed> aligned_array(int64_t count) {
  const size_t bytes = (size_t(count) * sizeof(T) + 63) / 64 * 64;
  void* p = std::aligned_alloc(64, bytes ? bytes : 64);
  if (!p) throw std::bad_alloc();
  return std::unique_ptr<T[], Freed>(static_cast<T*>(p));
}

double element_value(const char* p, Element element) {
  double value = 0;
  with_element(element, [&](auto source) { value = widen<double, 1, decltype(source)>(p)[0]; });
  return value;
}

// Square root of the sum of squares of a row that may overflow or underflow on the way.
double careful_norm(const char* row, int64_t d, Element element) {
  double largest = 0;
  for (int64_t j = 0; j < d; ++j) {
    largest = std::max(largest, std::fabs(element_value(row + j * element_size[int(element)], element)));
  }
  if (largest == 0 || !std::isfinite(largest)) return largest;
  double square = 0;
  for (int64_t j = 0; j < d; ++j) {
    const double x = element_value(row + j * element_size[int(element)], element) / largest;
    square += x * x;
  }
  return largest * std::sqrt(square);
}

// Norms of the rows of one block, inverted.
void invert_norms(const ScatterJob& job, const Kernels& k, int64_t first, int64_t n, double* out) {
  const char* rows = job.rows + first * job.row_stride;
  const bool normal = k.square_norms(rows, job.row_stride, n, job.d, job.element, out);
  for (int64_t r = 0; r < n; ++r) {
    const double norm = normal ? std::sqrt(out[r]) : careful_norm(rows + r * job.row_stride, job.d, job.element);
    out[r] = 1.0 / norm;
  }
}

// What the packing of one tile leaves behind.
template <class T>
struct Tile {
  std::unique_ptr<T[], Freed> panels;
  std::unique_ptr<double[], Freed> total, weighted, fourth, inverse_norm;  // by block of `pack_rows` rows
  std::unique_ptr<T[], Freed> peak;
  std::vector<char> finite, zero;
  int64_t first = 0, n = 0;
};

template <class T>
class Scatter {
 public:
  Scatter(const ScatterJob& job, const Kernels& k)
      : job_(job), k_(k), product_(k.product<T>()), width_(product_.panel_width) {
    panels_ = (job.d + width_ - 1) / width_;
    padded_ = panels_ * width_;
    const int64_t fitting = tile_bytes / (padded_ * int64_t(sizeof(T))) / flush_rows * flush_rows;
    tile_rows_ = std::min<int64_t>(std::max<int64_t>(fitting, flush_rows), 8 * flush_rows);
    tile_rows_ = std::min(tile_rows_, (job.n + pack_rows - 1) / pack_rows * pack_rows);
    blocks_ = tile_rows_ / pack_rows;
    prepare_columns();
    for (auto& tile : tiles_) {
      tile.panels = aligned_array<T>(panels_ * width_ * tile_rows_);
      tile.total = aligned_array<double>(blocks_ * padded_);
      tile.peak = aligned_array<T>(blocks_ * padded_);
      tile.finite.resize(size_t(blocks_));
      tile.zero.resize(size_t(blocks_));
      if (job.normalize) tile.inverse_norm = aligned_array<double>(tile_rows_);
      if (job.weighted) {
        tile.weighted = aligned_array<double>(blocks_ * padded_);
        tile.fourth = aligned_array<double>(blocks_);
      }
      if (job.n <= tile_rows_) break;
    }
    plan_blocks();
  }

  // Tiles whose float32 products could overflow or underflow are left out and listed in `untamed`.
  Status run(std::vector<std::pair<int64_t, int64_t>>* untamed) {
    Status status;
    start(tiles_[0], 0);
    parallel_for(job_.threads, pack_tasks(tiles_[0]), [&](int64_t task) { pack(tiles_[0], task); });
    for (int current = 0;; current ^= 1) {
      Tile<T>& tile = tiles_[current];
      Tile<T>& next = tiles_[current ^ 1];
      if (const Outcome outcome = check(tile); outcome != Outcome::done) return {outcome, 0, 0};
      ++status.tiles;
      const bool tame = !untamed || is_tame(tile);
      if (tame) reduce(tile);
      else untamed->emplace_back(tile.first, tile.n);
      const int64_t products = tame ? int64_t(plan_.size()) : 0;
      const bool more = tile.first + tile.n < job_.n;
      if (more) start(next, tile.first + tile.n);
      const int64_t packs = more ? pack_tasks(next) : 0;
      // Packing waits for memory and multiplying does not, so the two kinds of task are dealt out evenly mixed.
      const int64_t tasks = products + packs;
      parallel_for(job_.threads, tasks, [&](int64_t task) {
        const int64_t before = task * packs / tasks;
        if ((task + 1) * packs / tasks > before) return pack(next, before);
        product_.gram(tile.panels.get(), tile_rows_ * width_, tile.n, job_.d, plan_[size_t(task - before)], job_.gram);
      });
      if (!more) return status;
    }
  }

 private:
  void prepare_columns() {
    bool exact = fits_float(job_.element) && sizeof(T) == sizeof(float) && !job_.normalize;
    if (job_.shift) {
      shift_ = aligned_array<double>(padded_);
      std::fill_n(shift_.get(), padded_, 0.0);
      std::copy_n(job_.shift, job_.d, shift_.get());
      for (int64_t j = 0; j < job_.d; ++j) exact = exact && double(float(job_.shift[j])) == job_.shift[j];
    }
    if (job_.exponent) {
      scale_ = aligned_array<double>(padded_);
      std::fill_n(scale_.get(), padded_, 1.0);
      for (int64_t j = 0; j < job_.d; ++j) {
        scale_[size_t(j)] = std::ldexp(1.0, job_.exponent[j]);
        exact = exact && std::abs(job_.exponent[j]) <= 126;
      }
    }
    wide_ = !exact;
    if (wide_) return;
    for (auto [from, to] : {std::pair{&shift_, &shift32_}, std::pair{&scale_, &scale32_}}) {
      if (!*from) continue;
      *to = aligned_array<float>(padded_);
      std::copy_n(from->get(), padded_, to->get());
    }
  }

  // Blocks of the triangle, panel by panel of the right-hand side, so that it stays in the second-level cache. With
  // few panels a block is cut into its groups of rows, to have enough tasks for every thread.
  void plan_blocks() {
    const int groups = width_ / product_.micro_rows;
    const int step = panels_ * (panels_ + 1) / 2 >= 8 * job_.threads ? groups : std::max(1, groups / 3);
    for (int64_t right = 0; right < panels_; ++right)
      for (int64_t left = 0; left <= right; ++left)
        for (int group = 0; group < groups; group += step) {
          if (left * width_ + group * product_.micro_rows < job_.d) plan_.push_back({left, right, group, step});
        }
  }

  void start(Tile<T>& tile, int64_t first) {
    tile.first = first;
    tile.n = std::min(tile_rows_, job_.n - first);
  }

  int64_t pack_tasks(const Tile<T>& tile) const { return (tile.n + pack_rows - 1) / pack_rows; }

  void pack(Tile<T>& tile, int64_t task) {
    const int64_t row = task * pack_rows;
    const int64_t n = std::min(pack_rows, tile.n - row);
    double* inverse_norm = nullptr;
    tile.zero[size_t(task)] = 0;
    if (job_.normalize) {
      inverse_norm = tile.inverse_norm.get() + row;
      invert_norms(job_, k_, tile.first + row, n, inverse_norm);
      for (int64_t r = 0; r < n; ++r) tile.zero[size_t(task)] |= std::isinf(inverse_norm[r]);
    }
    PackBlock<T> block{};
    block.rows = job_.rows + (tile.first + row) * job_.row_stride;
    block.row_stride = job_.row_stride;
    block.n = n;
    block.d = job_.d;
    block.element = job_.element;
    block.panels = tile.panels.get() + row * width_;
    block.panel_stride = tile_rows_ * width_;
    block.wide = wide_;
    block.shift = shift_.get();
    block.scale = scale_.get();
    block.shift32 = shift32_.get();
    block.scale32 = scale32_.get();
    block.inverse_norm = inverse_norm;
    block.total = tile.total.get() + task * padded_;
    block.peak = tile.peak.get() + task * padded_;
    tile.finite[size_t(task)] = product_.pack(block);
    if (job_.weighted) {
      double* weighted = tile.weighted.get() + task * padded_;
      std::fill_n(weighted, padded_, 0.0);
      tile.fourth[size_t(task)] = 0;
      product_.weigh(block.panels, block.panel_stride, n, job_.d, weighted, &tile.fourth[size_t(task)]);
    }
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
    for (int64_t first = 0; first < job_.d; first += 256) {
      const int64_t count = std::min<int64_t>(256, job_.d - first);
      T peak[256] = {};
      for (int64_t task = 0; task < pack_tasks(tile); ++task) {
        const T* block = tile.peak.get() + task * padded_ + first;
        for (int64_t j = 0; j < count; ++j) peak[j] = block[j] > peak[j] ? block[j] : peak[j];
      }
      for (int64_t j = 0; j < count; ++j)
        if (peak[j] != 0 && !(peak[j] >= T(smallest_peak) && peak[j] <= T(largest_peak))) return false;
    }
    return true;
  }

  // Adds the sums of the blocks, always in the order of the rows.
  void reduce(const Tile<T>& tile) {
    for (int64_t task = 0; task < pack_tasks(tile); ++task) {
      const double* total = tile.total.get() + task * padded_;
      for (int64_t j = 0; j < job_.d; ++j) job_.total[j] += total[j];
      if (!job_.weighted) continue;
      const double* weighted = tile.weighted.get() + task * padded_;
      for (int64_t j = 0; j < job_.d; ++j) job_.weighted[j] += weighted[j];
      *job_.fourth += tile.fourth[size_t(task)];
    }
  }

  const ScatterJob& job_;
  const Kernels& k_;
  const ProductKernels<T>& product_;
  const int width_;
  int64_t panels_, padded_, tile_rows_, blocks_;
  bool wide_ = false;
  std::unique_ptr<double[], Freed> shift_, scale_;
  std::unique_ptr<float[], Freed> shift32_, scale32_;
  Tile<T> tiles_[2];
  std::vector<GramBlock> plan_;
};

Status run(const ScatterJob& job) {
  const Kernels& k = kernels(job.isa);
  if (job.doubles) return Scatter<double>(job, k).run(nullptr);
  std::vector<std::pair<int64_t, int64_t>> untamed;
  Status status = Scatter<float>(job, k).run(&untamed);
  for (const auto& [first, n] : untamed) {
    if (status.outcome != Outcome::done) break;
    ScatterJob part = job;
    part.rows += first * job.row_stride;
    part.n = n;
    status.outcome = Scatter<double>(part, k).run(nullptr).outcome;
    ++status.tiles_in_doubles;
  }
  return status;
}

}  // namespace

Status scatter(const ScatterJob& job) {
  try {
    return run(job);
  } catch (const std::bad_alloc&) {
    return {Outcome::no_memory, 0, 0};
  }
}

BadRows find_bad_rows(const char* rows, int64_t n, int64_t d, int64_t row_stride, Element element) {
  BadRows found;
  for (int64_t r = 0; r < n; ++r) {
    const char* row = rows + r * row_stride;
    bool zero = true;
    for (int64_t j = 0; j < d; ++j) {
      const double x = element_value(row + j * element_size[int(element)], element);
      zero = zero && x == 0;
      if (std::isfinite(x)) continue;
      if (found.entries++ == 0) found.first_entry_row = r;
    }
    if (zero && found.zeros++ == 0) found.first_zero_row = r;
  }
  return found;
}

}  // namespace featdiv

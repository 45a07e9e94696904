#include "topk.h"

#include <algorithm>
#include <atomic>
#include <limits>

#include "arrays.h"
#include "pool.h"
#include "stages.h"

namespace featdiv {
namespace {

// Query panels of one task: with one panel of the gallery they fit the second-level cache for some hundred features.
constexpr int64_t task_panels = 4;
// Queries whose candidates are held at a time, and bytes of the packed gallery that they are compared with.
constexpr int64_t held_queries = 8192;
constexpr int64_t gallery_bytes = 8 << 20;

// Candidates as integers: the nearer is larger, and of two equal ones the one of lower index.
uint64_t key_of(float nearness, int64_t index) {
  nearness += 0.0f;  // turns -0.0 into 0.0
  uint32_t bits;
  memcpy(&bits, &nearness, sizeof bits);
  bits = bits >> 31 ? ~bits : bits | 0x80000000u;
  return uint64_t(bits) << 32 | (0xffffffffu - uint32_t(index));
}

float nearness_of(uint64_t key) {
  uint32_t bits = uint32_t(key >> 32);
  bits = bits >> 31 ? bits & 0x7fffffffu : ~bits;
  float nearness;
  memcpy(&nearness, &bits, sizeof nearness);
  return nearness;
}

int64_t index_of(uint64_t key) { return int64_t(0xffffffffu - uint32_t(key)); }

class TopkRunner {
 public:
  explicit TopkRunner(const TopkJob& job)
      : job_(job),
        kernels_(kernels(job.isa)),
        product_(kernels_.f32),
        width_(product_.panel_width),
        room_(2 * job.k + 64) {}

  Outcome run() {
    const int64_t d = job_.gallery.d, n = job_.gallery.n;
    const int64_t panel_bytes = width_ * d * int64_t(sizeof(float));
    const int64_t block_panels = std::max<int64_t>(1, gallery_bytes / panel_bytes);
    const int64_t block_rows = std::min(n, block_panels * width_);
    const int64_t held = std::min(job_.queries.n, held_queries);
    const int64_t panels = (block_rows + width_ - 1) / width_;
    auto gallery = aligned_array<float>(panels * width_ * d);
    auto half_squares = aligned_array<float>(panels * width_);
    keys_ = aligned_array<uint64_t>(held * room_);
    counts_ = aligned_array<int64_t>(held);
    thresholds_ = aligned_array<float>(held);
    for (int64_t first = 0; first < job_.queries.n; first += held) {
      const int64_t m = std::min(held, job_.queries.n - first);
      std::fill_n(counts_.get(), m, int64_t(0));
      std::fill_n(thresholds_.get(), m, -std::numeric_limits<float>::infinity());
      for (int64_t start = 0; start < n; start += block_rows) {
        const Rows block = job_.gallery.slice(start, std::min(block_rows, n - start));
        const int64_t count = (block.n + width_ - 1) / width_;
        each(count, [&](int64_t p) {
          pack(block, p, gallery.get() + p * width_ * d, half_squares.get() + p * width_);
        });
        each((m + task_panels * width_ - 1) / (task_panels * width_), [&](int64_t task) {
          compare(first, m, task, block, start, gallery.get(), half_squares.get());
        });
        if (worst_ != Outcome::done) return worst_;
      }
      each((m + width_ - 1) / width_, [&](int64_t p) { finish(first, p * width_, std::min(m, (p + 1) * width_)); });
    }
    return worst_;
  }

 private:
  template <class F>
  void each(int64_t tasks, F&& f) {
    parallel_for(job_.threads, tasks, [&](int64_t task) {
      try {
        f(task);
      } catch (const std::bad_alloc&) {
        worst_ = Outcome::no_memory;
      }
    });
  }

  // Packs panel p of the rows feature by feature, with half the squared norms of its rows if they are wanted.
  void pack(const Rows& rows, int64_t p, float* panel, float* half_squares) {
    const InStage stage(Stage::pack);
    const int64_t d = rows.d, padded = (d + width_ - 1) / width_ * width_;
    const Rows part = rows.slice(p * width_, std::min(width_, rows.n - p * width_));
    auto by_row = aligned_array<float>(padded * width_);
    auto total = aligned_array<double>(padded);
    auto peaks = aligned_array<float>(padded);
    if (part.n < width_) std::fill_n(by_row.get(), padded * width_, 0.0f);
    PackBlock<float> block{};
    block.rows = part.data;
    block.index = part.index;
    block.row_stride = part.stride;
    block.n = part.n;
    block.d = d;
    block.element = part.element;
    block.panels = by_row.get();
    block.panel_stride = width_ * width_;
    block.wide = !fits_float(part.element);
    block.total = total.get();
    block.peak = peaks.get();
    if (!product_.pack(block)) worst_ = Outcome::not_finite;
    for (int64_t j = 0; j < d; ++j) {
      const float* from = by_row.get() + j / width_ * width_ * width_ + j % width_;
      for (int64_t r = 0; r < width_; ++r) panel[j * width_ + r] = from[r * width_];
    }
    if (!half_squares) return;
    for (int64_t r = 0; r < width_; ++r) {
      double square = 0;
      for (int64_t j = 0; j < d; ++j) square += double(panel[j * width_ + r]) * double(panel[j * width_ + r]);
      half_squares[r] = float(0.5 * square);
    }
  }

  // Compares one task's share of the m queries that are held, from row `first` on, with a packed block of the gallery.
  void compare(int64_t first, int64_t m, int64_t task, const Rows& block, int64_t start, const float* gallery,
               const float* half_squares) {
    const int64_t d = block.d, from = task * task_panels * width_;
    const Rows queries = job_.queries.slice(first + from, std::min(task_panels * width_, m - from));
    const int64_t panels = (queries.n + width_ - 1) / width_;
    auto packed = aligned_array<float>(panels * width_ * d);
    auto nearness = aligned_array<float>(width_ * width_);
    auto better = aligned_array<uint64_t>(width_);
    for (int64_t p = 0; p < panels; ++p) pack(queries, p, packed.get() + p * width_ * d, nullptr);
    for (int64_t q = 0; q * width_ < block.n; ++q)
      for (int64_t p = 0; p < panels; ++p) {
        const int64_t row = from + p * width_;
        NearestBlock pairs{};
        pairs.left = packed.get() + p * width_ * d;
        pairs.right = gallery + q * width_ * d;
        pairs.d = d;
        pairs.left_valid = int(std::min(width_, queries.n - p * width_));
        pairs.right_valid = int(std::min(width_, block.n - q * width_));
        pairs.half_squares = job_.l2 ? half_squares + q * width_ : nullptr;
        pairs.thresholds = thresholds_.get() + row;
        pairs.nearness = nearness.get();
        pairs.better = better.get();
        {
          const InStage stage(Stage::product);
          product_.nearest(pairs);
        }
        const InStage stage(Stage::flush);
        for (int i = 0; i < pairs.left_valid; ++i)
          for (uint64_t bits = better[size_t(i)]; bits; bits &= bits - 1) {
            const int j = __builtin_ctzll(bits);
            keep(row + i, key_of(nearness[size_t(i * width_ + j)], start + q * width_ + j));
          }
      }
  }

  void keep(int64_t query, uint64_t key) {
    uint64_t* keys = keys_.get() + query * room_;
    int64_t& count = counts_[size_t(query)];
    keys[count++] = key;
    if (count == room_) thresholds_[size_t(query)] = nearness_of(cut(keys, count));
  }

  // Drops all but the k nearest candidates and returns the last of them. The gallery passes in ascending order, so
  // that a later row that is equally near does not belong among them.
  uint64_t cut(uint64_t* keys, int64_t& count) const {
    std::nth_element(keys, keys + job_.k - 1, keys + count, std::greater<uint64_t>());
    count = job_.k;
    return keys[job_.k - 1];
  }

  void finish(int64_t first, int64_t begin, int64_t end) {
    const InStage stage(Stage::flush);
    for (int64_t query = begin; query < end; ++query) {
      uint64_t* keys = keys_.get() + query * room_;
      cut(keys, counts_[size_t(query)]);
      std::sort(keys, keys + job_.k, std::greater<uint64_t>());
      const double square = job_.l2 ? squared_norm(first + query) : 0.0;
      for (int64_t j = 0; j < job_.k; ++j) {
        const double nearness = double(nearness_of(keys[j]));
        const int64_t place = (first + query) * job_.k + j;
        job_.values[place] = float(job_.l2 ? std::max(0.0, square - 2.0 * nearness) : nearness);
        job_.indices[place] = index_of(keys[j]);
      }
    }
  }

  double squared_norm(int64_t query) const {
    const Rows row = job_.queries.slice(query, 1);
    double square;
    kernels_.square_norms(row.data, row.index, row.stride, 1, row.d, row.element, &square);
    return square;
  }

  const TopkJob& job_;
  const Kernels& kernels_;
  const ProductKernels<float>& product_;
  const int64_t width_;
  const int64_t room_;  // candidates that fit before they are cut
  Array<uint64_t> keys_;
  Array<int64_t> counts_;
  Array<float> thresholds_;
  std::atomic<Outcome> worst_{Outcome::done};
};

}  // namespace

Outcome topk(const TopkJob& job) {
  try {
    return TopkRunner(job).run();
  } catch (const std::bad_alloc&) {
    return Outcome::no_memory;
  }
}

}  // namespace featdiv

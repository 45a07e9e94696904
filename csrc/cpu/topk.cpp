#include "topk.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "stages.h"
#include "topk_filter.h"
#include "topk_rows.h"

namespace featdiv {
namespace {

class TopkRunner {
 public:
  explicit TopkRunner(const TopkJob& job)
      : job_(job),
        kernels_(kernels(job.isa)),
        product_(kernels_.f32),
        width_(product_.panel_width),
        room_(2 * job.k + 64),
        tasks_(job) {}

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
        tasks_.each(count, [&](int64_t p) {
          pack(block, p, gallery.get() + p * width_ * d, half_squares.get() + p * width_);
        });
        tasks_.each((m + task_panels * width_ - 1) / (task_panels * width_), [&](int64_t task) {
          compare(first, m, task, block, start, gallery.get(), half_squares.get());
        });
        if (tasks_.worst != Outcome::done) return tasks_.worst;
      }
      tasks_.each((m + width_ - 1) / width_,
                  [&](int64_t p) { finish(first, p * width_, std::min(m, (p + 1) * width_)); });
    }
    return tasks_.worst;
  }

 private:
  // Packs panel p of the rows feature by feature, with half the squared norms of its rows if they are wanted.
  void pack(const Rows& rows, int64_t p, float* panel, float* half_squares) {
    const InStage stage(Stage::pack);
    const int64_t d = rows.d, padded = (d + width_ - 1) / width_ * width_;
    auto by_row = aligned_array<float>(padded * width_);
    const Rows part = rows.slice(p * width_, std::min(width_, rows.n - p * width_));
    if (!pack_by_row(kernels_, part, by_row.get())) tasks_.worst = Outcome::not_finite;
    for (int64_t j = 0; j < d; ++j) {
      const float* from = by_row.get() + j / width_ * width_ * width_ + j % width_;
      for (int64_t r = 0; r < width_; ++r) panel[j * width_ + r] = from[r * width_];
    }
    for (int64_t r = 0; half_squares && r < width_; ++r)
      half_squares[r] = float(0.5 * packed_square(by_row.get(), width_, d, r));
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
  Tasks tasks_;
};

// Fills in the neighbours of some of the queries.
Outcome by_floats(const TopkJob& job, const std::vector<int64_t>& queries) {
  const int64_t m = int64_t(queries.size());
  std::vector<int64_t> index(queries);
  for (int64_t& row : index) row = job.queries.index ? job.queries.index[row] : row;
  auto values = aligned_array<float>(m * job.k);
  auto indices = aligned_array<int64_t>(m * job.k);
  TopkJob some = job;
  some.queries.index = index.data();
  some.queries.n = m;
  some.values = values.get();
  some.indices = indices.get();
  const Outcome outcome = TopkRunner(some).run();
  for (int64_t i = 0; i < m && outcome == Outcome::done; ++i) {
    std::copy_n(values.get() + i * job.k, job.k, job.values + queries[size_t(i)] * job.k);
    std::copy_n(indices.get() + i * job.k, job.k, job.indices + queries[size_t(i)] * job.k);
  }
  return outcome;
}

}  // namespace

Outcome topk(const TopkJob& job) {
  try {
    if (!filter_pays(job)) return TopkRunner(job).run();
    std::vector<int64_t> undecided;
    const Outcome outcome = filtered_topk(job, undecided);
    if (outcome != Outcome::done || undecided.empty()) return outcome;
    return by_floats(job, undecided);
  } catch (const std::bad_alloc&) {
    return Outcome::no_memory;
  }
}

}  // namespace featdiv

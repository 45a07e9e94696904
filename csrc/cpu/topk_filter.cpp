#include "topk_filter.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "stages.h"
#include "topk_rows.h"

namespace featdiv {
namespace {

// Rows shorter than this fill too little of an instruction for rounding them to pay.
constexpr int64_t least_features = 32;
constexpr double infinity = std::numeric_limits<double>::infinity();
// A few times the smallest float: products below the range of normal floats are rounded to multiples of it.
constexpr double least_float = 0x1p-146;

// The nearness of a pair is its inner product; for distances, less half the square of the gallery's row. Computed from
// the integers, it is off by `slack` at most: what rounding took from either row, times the length of the other row,
// and the rounding of floats.
class FilteredTopk {
 public:
  FilteredTopk(const TopkJob& job, std::vector<int64_t>& undecided)
      : job_(job),
        kernels_(kernels(job.isa)),
        filter_(*kernels_.filter),
        width_(kernels_.f32.panel_width),
        words_(width_ * filter_.words(job.gallery.d)),
        room_(2 * job.k + 96),
        undecided_(undecided),
        tasks_(job) {}

  Outcome run() {
    const int64_t n = job_.gallery.n;
    const int64_t block_panels = std::max<int64_t>(1, gallery_bytes / (words_ * int64_t(sizeof(int32_t))));
    const int64_t block_rows = std::min(n, block_panels * width_);
    const int64_t held = std::min(job_.queries.n, held_queries);
    Panels gallery = panels((block_rows + width_ - 1) / width_);
    keys_ = aligned_array<uint64_t>(held * room_);
    thresholds_ = aligned_array<float>((held + width_ - 1) / width_ * width_);
    states_.resize(size_t(held));
    for (int64_t first = 0; first < job_.queries.n; first += held) {
      const int64_t m = std::min(held, job_.queries.n - first);
      std::fill(states_.begin(), states_.end(), State{});
      for (int64_t start = 0; start < n; start += block_rows) {
        const Rows block = job_.gallery.slice(start, std::min(block_rows, n - start));
        tasks_.each((block.n + width_ - 1) / width_, [&](int64_t p) { pack(block, p, gallery, p); });
        const Largest most = largest(gallery, (block.n + width_ - 1) / width_);
        tasks_.each((m + task_panels * width_ - 1) / (task_panels * width_),
                    [&](int64_t task) { compare(first, m, task, block, start, gallery, most); });
        if (tasks_.worst != Outcome::done) return tasks_.worst;
      }
      tasks_.each((m + width_ - 1) / width_, [&](int64_t p) {
        for (int64_t row = p * width_; row < std::min(m, (p + 1) * width_); ++row) finish(first, row);
      });
      for (int64_t row = 0; row < m; ++row)
        if (states_[size_t(row)].undecided) undecided_.push_back(first + row);
    }
    return tasks_.worst;
  }

 private:
  // Rounded rows, W of a panel.
  struct Panels {
    Array<int32_t> words;
    Array<float> units, errors, half_squares;
  };

  // The largest of a block of the gallery.
  struct Largest {
    double norm, error, half_square;
  };

  // What is known of a query.
  struct State {
    int64_t count = 0;         // candidates
    double least = -infinity;  // k rows are at least this near
    double slack = 0;          // the largest error among its candidates
    bool undecided = false;
  };

  Panels panels(int64_t count) const {
    return {aligned_array<int32_t>(count * words_), aligned_array<float>(count * width_),
            aligned_array<float>(count * width_), aligned_array<float>(count * width_)};
  }

  // Rounds panel p of the rows into panel `to`.
  void pack(const Rows& rows, int64_t p, Panels& out, int64_t to) {
    const InStage stage(Stage::pack);
    const int64_t d = rows.d, padded = (d + width_ - 1) / width_ * width_;
    const Rows part = rows.slice(p * width_, std::min(width_, rows.n - p * width_));
    auto by_row = aligned_array<float>(padded * width_);
    if (!pack_by_row(kernels_, part, by_row.get())) tasks_.worst = Outcome::not_finite;
    filter_.round({by_row.get(), width_ * width_, part.n, d, 0, 0, out.words.get() + to * words_,
                   out.units.get() + to * width_, out.errors.get() + to * width_});
    float* const half_squares = out.half_squares.get() + to * width_;
    for (int64_t r = 0; r < width_; ++r)
      half_squares[r] = job_.l2 ? float(0.5 * packed_square(by_row.get(), width_, d, r)) : 0.0f;
  }

  Largest largest(const Panels& gallery, int64_t panels) const {
    const auto of = [&](const Array<float>& values) {
      return double(*std::max_element(values.get(), values.get() + panels * width_));
    };
    return {norm(float(of(gallery.units))), of(gallery.errors), of(gallery.half_squares)};
  }

  // The integers of a row have a norm of `largest_norm` at most.
  static double norm(float unit) { return double(unit) * double(largest_norm); }

  // Compares one task's share of the m queries that are held, from row `first` on, with a packed block of the gallery.
  void compare(int64_t first, int64_t m, int64_t task, const Rows& block, int64_t start, const Panels& gallery,
               const Largest& most) {
    const int64_t from = task * task_panels * width_;
    const Rows rows = job_.queries.slice(first + from, std::min(task_panels * width_, m - from));
    Panels queries = panels(task_panels);
    auto nearness = aligned_array<float>(width_ * width_);
    auto better = aligned_array<uint64_t>(width_);
    std::vector<int64_t> wanted;
    for (int64_t p = 0; p * width_ < rows.n; ++p)
      if (set_slack(from + p * width_, std::min(m, from + (p + 1) * width_), rows, p, queries, most))
        wanted.push_back(p);
    for (int64_t q = 0; q * width_ < block.n; ++q)
      for (const int64_t p : wanted) {
        const int64_t row = from + p * width_;
        NearestBlock pairs{};
        pairs.d = block.d;
        pairs.left_valid = int(std::min(width_, rows.n - p * width_));
        pairs.right_valid = int(std::min(width_, block.n - q * width_));
        pairs.half_squares = job_.l2 ? gallery.half_squares.get() + q * width_ : nullptr;
        pairs.thresholds = thresholds_.get() + row;
        pairs.nearness = nearness.get();
        pairs.better = better.get();
        {
          const InStage stage(Stage::product);
          filter_.nearest(pairs, {queries.words.get() + p * words_, gallery.words.get() + q * words_,
                                  queries.units.get() + p * width_, gallery.units.get() + q * width_});
        }
        const InStage stage(Stage::flush);
        for (int i = 0; i < pairs.left_valid; ++i)
          for (uint64_t bits = better[size_t(i)]; bits; bits &= bits - 1) {
            const int j = __builtin_ctzll(bits);
            keep(row + i, key_of(nearness[size_t(i * width_ + j)], start + q * width_ + j));
          }
      }
  }

  // Packs panel p of a task's queries, those from `row` to `end`, and bounds their products with a block of the
  // gallery; false if there is nothing to find for them any more.
  bool set_slack(int64_t row, int64_t end, const Rows& rows, int64_t p, Panels& queries, const Largest& most) {
    pack(rows, p, queries, p);
    bool wanted = false;
    for (int64_t i = 0; row + i < end; ++i) {
      State& state = states_[size_t(row + i)];
      const double own = norm(queries.units[size_t(p * width_ + i)]), error = queries.errors[size_t(p * width_ + i)];
      const double rounding = 0x1p-20 * (own * most.norm + most.half_square) + least_float;
      state.slack = std::max(state.slack, error * most.norm + (own + error) * most.error + rounding);
      set_threshold(row + i);
      wanted |= !state.undecided;
    }
    return wanted;
  }

  // What the nearness of further candidates has to exceed.
  void set_threshold(int64_t query) {
    const State& state = states_[size_t(query)];
    thresholds_[size_t(query)] = float(state.undecided ? infinity : state.least - state.slack);
  }

  void keep(int64_t query, uint64_t key) {
    State& state = states_[size_t(query)];
    // Others of the block passed a threshold that holds no longer.
    if (state.undecided) return;
    keys_[size_t(query * room_ + state.count++)] = key;
    if (state.count < room_) return;
    cut(query);
    state.undecided = state.count > room_ - room_ / 8;
    set_threshold(query);
  }

  // Drops the candidates that cannot be among the k nearest.
  void cut(int64_t query) {
    State& state = states_[size_t(query)];
    uint64_t* const keys = keys_.get() + query * room_;
    std::nth_element(keys, keys + job_.k - 1, keys + state.count, std::greater<uint64_t>());
    state.least = double(nearness_of(keys[job_.k - 1])) - state.slack;
    const double bound = state.least - state.slack;
    state.count = std::partition(keys + job_.k, keys + state.count,
                                 [&](uint64_t key) { return double(nearness_of(key)) >= bound; }) -
                  keys;
  }

  void finish(int64_t first, int64_t query) {
    const InStage stage(Stage::flush);
    State& state = states_[size_t(query)];
    if (state.undecided) return;
    cut(query);
    uint64_t* const keys = keys_.get() + query * room_;
    measure(first + query, keys, state.count);
    std::sort(keys, keys + state.count, std::greater<uint64_t>());
    for (int64_t j = 0; j < job_.k; ++j) {
      const int64_t place = (first + query) * job_.k + j;
      const float nearness = nearness_of(keys[j]);
      job_.values[place] = job_.l2 ? std::fabs(nearness) : nearness;
      job_.indices[place] = index_of(keys[j]);
    }
  }

  // Puts the inner products of a query and its candidates into their keys, or less the squared distances.
  void measure(int64_t query, uint64_t* keys, int64_t count) const {
    const Rows& gallery = job_.gallery;
    std::vector<const char*> rows(size_t(count), nullptr);
    std::vector<double> values(static_cast<size_t>(count));
    for (int64_t j = 0; j < count; ++j) rows[size_t(j)] = gallery.row(index_of(keys[j]));
    kernels_.exact_measures(job_.queries.row(query), rows.data(), count, gallery.d, gallery.element,
                            job_.l2 ? Measure::distance : Measure::cosine, values.data());
    for (int64_t j = 0; j < count; ++j) {
      const double value = values[size_t(j)];
      keys[j] = key_of(float(job_.l2 ? -value * value : value), index_of(keys[j]));
    }
  }

  const TopkJob& job_;
  const Kernels& kernels_;
  const FilterKernels& filter_;
  const int64_t width_, words_;
  const int64_t room_;  // candidates that fit before they are cut
  std::vector<int64_t>& undecided_;
  Array<uint64_t> keys_;
  Array<float> thresholds_;
  std::vector<State> states_;
  Tasks tasks_;
};

}  // namespace

bool filter_pays(const TopkJob& job) {
  // Below, what the filter leaves open, or the packing, takes about as long as comparing everything in floats.
  return kernels(job.isa).filter && job.gallery.d >= least_features && job.gallery.n >= 16 * job.k &&
         job.gallery.n * job.queries.n >= int64_t{1} << 18;
}

Outcome filtered_topk(const TopkJob& job, std::vector<int64_t>& undecided) {
  return FilteredTopk(job, undecided).run();
}

}  // namespace featdiv

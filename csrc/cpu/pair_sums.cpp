#include "pair_sums.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <limits>
#include <mutex>
#include <vector>

#include "arrays.h"
#include "pair_rows.h"
#include "pool.h"
#include "stages.h"

namespace featdiv {
namespace {

// Panels on each side of one task: together they fit the second-level cache for some hundred features.
constexpr int64_t task_panels = 4;

using Pair = std::array<int64_t, 2>;

// Bytes of packed rows of either side that exist at a time: rows that take more are packed anew for every stretch of
// the other side, which costs little beside the products of a stretch.
constexpr int64_t packed_bytes = int64_t{32} << 20;
// Panels of a stretch, since the tasks of two stretches are listed.
constexpr int64_t most_panels = 2048;
// Histograms of up to so many bins are counted in several tables in turn: adding one twice to the same number, one
// right after the other, waits for the first to be stored.
constexpr int most_turns = 4, bins_of_turns = 4096;

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
        turns_(job.bins <= bins_of_turns ? most_turns : 1),
        left_panels_(width_, job.block_edges, job.blocks),
        right_panels_(within_ ? left_panels_ : panels_of(job.other)),
        stretch_(fitting_panels(job)),
        packer_(job, kernels_, stretch_),
        exp_totals_(size_t(job.blocks) * size_t(job.blocks) * size_t(job.rate_count)),
        distance_totals_(size_t(job.blocks) * size_t(job.blocks)),
        histogram_(size_t(job.blocks) * size_t(job.blocks) * (size_t(job.bins) + 2)),
        best_(-std::numeric_limits<double>::infinity()) {
    const double unit = sizeof(T) == sizeof(float) ? 0x1p-24 : 0x1p-53;
    // A chain, the sum of chains, and the roundings of the rows, of their norms and of the sum of three terms.
    rounding_ = T(unit * double(pair_chain + job.x.d / pair_chain + 12));
  }

  PairOutcome run() {
    left_norms_ = take_norms(job_, job_.x, kernels_);
    if (left_norms_.outcome != Outcome::done) return PairOutcome(int(left_norms_.outcome));
    if (!within_) {
      right_norms_ = take_norms(job_, job_.other, kernels_);
      if (right_norms_.outcome != Outcome::done) return PairOutcome(int(right_norms_.outcome));
    }
    for (int64_t q = 0; q < right_panels_.count(); q += stretch_) {
      const PairOutcome outcome = packer_.pack(right_, right_rows(), right_panels_, right_norms(), q, within_ ? 0 : 1);
      if (outcome != PairOutcome::done) return outcome;
      for (int64_t p = 0; p < (within_ ? q + 1 : left_panels_.count()); p += stretch_) {
        const bool same = within_ && p == q;
        if (!same) {
          const PairOutcome packed = packer_.pack(left_, job_.x, left_panels_, left_norms_, p, 0);
          if (packed != PairOutcome::done) return packed;
        }
        if (!multiply(same ? right_ : left_)) return PairOutcome::no_memory;
        if (stopped()) return PairOutcome::stopped;
      }
    }
    // Beside rates that suit rows of unit length, what vanishes is nothing.
    const bool harmless = job_.rounded && job_.normalize;
    if (packer_.vanished() && !harmless) return PairOutcome::out_of_range;
    finish();
    return PairOutcome::done;
  }

 private:
  // Some panels of one block of rows.
  struct Group {
    int64_t first, count;
    int block;
  };
  struct Task {
    Group down, across;
  };

  // What one task finds, before it is added to the whole.
  struct Tally {
    std::vector<int32_t> tables;  // [turns, bins + 4]: pairs of each value of `bin`, from the least on
    std::vector<int64_t> histogram;  // [bins + 2] pairs that were computed again
    std::vector<Pair> examples;
    int64_t close = 0;
    double best = -std::numeric_limits<double>::infinity();
    Pair nearest{-1, -1};
  };

  const Rows& right_rows() const { return within_ ? job_.x : job_.other; }
  const Norms& right_norms() const { return within_ ? left_norms_ : right_norms_; }
  int64_t fitting_panels(const PairJob& job) const {
    int64_t words = job.x.d * int64_t(sizeof(T) / sizeof(int32_t));
    if (job.rounded) words = kernels_.rounded->words(job.x.d);
    if (job.rounded && job.basis) words = kernels_.tapered->words(job.x.d, job.lead);
    const int64_t bytes = width_ * words * int64_t(sizeof(int32_t));
    // One side is enough for pairs within a set that fits.
    if (within_ && left_panels_.count() * bytes <= 2 * packed_bytes && left_panels_.count() <= most_panels)
      return left_panels_.count();
    return std::clamp(packed_bytes / bytes / task_panels * task_panels, task_panels, most_panels);
  }

  Panels panels_of(const Rows& rows) const {
    const int64_t edges[] = {0, rows.n};
    return {width_, edges, 1};
  }

  // The panels of a stretch by fours, none of which spans two blocks.
  static std::vector<Group> groups_of(const Packed<T>& packed, const Panels& panels) {
    std::vector<Group> groups;
    for (int64_t panel = packed.first; panel < packed.first + packed.count; ++panel) {
      const int block = panels.all[size_t(panel)].block;
      if (groups.empty() || groups.back().count == task_panels || groups.back().block != block)
        groups.push_back({panel, 0, block});
      ++groups.back().count;
    }
    return groups;
  }

  // Another thread writes and reads what it watches, through Python.
  bool stopped() const { return job_.watch && __atomic_load_n(job_.watch + 1, __ATOMIC_RELAXED) != 0; }

  // Adds the pairs of one stretch of rows with the packed stretch of the right-hand side; false without memory.
  bool multiply(const Packed<T>& left) {
    const bool triangle = &left == &right_;
    const std::vector<Group> across = groups_of(right_, right_panels_);
    const std::vector<Group> down = triangle ? across : groups_of(left, left_panels_);
    tasks_.clear();
    for (size_t j = 0; j < across.size(); ++j)
      for (size_t i = 0; i < (triangle ? j + 1 : down.size()); ++i) tasks_.push_back({down[i], across[j]});
    exp_sums_.assign(tasks_.size() * size_t(job_.rate_count), 0.0);
    distance_sums_.assign(job_.distances ? tasks_.size() : 0, 0.0);
    std::atomic<bool> no_memory{false};
    parallel_for(job_.threads, int64_t(tasks_.size()), [&](int64_t task) {
      if (stopped()) return;
      try {
        run_task(left, task);
      } catch (const std::bad_alloc&) {
        no_memory = true;
      }
    });
    const size_t rates = size_t(job_.rate_count);
    for (size_t task = 0; task < tasks_.size(); ++task)
      for (size_t rate = 0; rate < rates; ++rate)
        exp_totals_[cell_of(tasks_[task]) * rates + rate] += exp_sums_[task * rates + rate];
    for (size_t task = 0; task < distance_sums_.size(); ++task)
      distance_totals_[cell_of(tasks_[task])] += distance_sums_[task];
    return !no_memory;
  }

  // The pair of blocks that a task is about.
  size_t cell_of(const Task& task) const {
    return size_t(task.down.block) * size_t(job_.blocks) + size_t(task.across.block);
  }

  void finish() {
    std::copy(exp_totals_.begin(), exp_totals_.end(), result_.exp_sums);
    if (job_.distances) std::copy(distance_totals_.begin(), distance_totals_.end(), result_.distance_sums);
    std::copy(histogram_.begin(), histogram_.end(), result_.histogram);
    result_.close = close_;
    std::sort(examples_.begin(), examples_.end());
    examples_.resize(std::min(examples_.size(), size_t(job_.most_examples)));
    for (size_t k = 0; k < examples_.size(); ++k) std::copy_n(examples_[k].data(), 2, result_.examples + 2 * k);
    if (nearest_[0] >= 0) {
      std::copy_n(nearest_.data(), 2, result_.nearest);
      result_.nearest_value = exact(nearest_[0], nearest_[1]);
    }
  }

  double exact(int64_t i, int64_t j) const { return exact(i, j, job_.measure); }

  double exact(int64_t i, int64_t j, Measure measure) const {
    const double a = job_.normalize ? left_norms_.inverse[size_t(i)] : 1.0;
    const double b = job_.normalize ? right_norms().inverse[size_t(j)] : 1.0;
    return kernels_.exact_measure(job_.x.row(i), right_rows().row(j), job_.x.d, job_.x.element, a, b, measure);
  }

  void run_task(const Packed<T>& left, int64_t task) {
    const Group &down = tasks_[size_t(task)].down, &across = tasks_[size_t(task)].across;
    const bool triangle = &left == &right_;
    Tally tally;
    if (job_.bins) {
      tally.tables.resize(size_t(turns_) * size_t(job_.bins + 4));
      tally.histogram.resize(size_t(job_.bins) + 2);
    }
    int64_t pairs = 0;
    const size_t cells = job_.measure == Measure::none ? 0 : size_t(width_ * width_);
    auto values = aligned_array<T>(int64_t(cells)), errors = aligned_array<T>(int64_t(cells));
    auto bins = aligned_array<int32_t>(int64_t(cells));
    std::vector<int32_t> near(job_.distances ? size_t(width_ * width_) : 0);
    for (int64_t q = across.first - right_.first; q < across.first - right_.first + across.count; ++q)
      for (int64_t p = down.first - left.first; p < down.first - left.first + down.count; ++p) {
        if (triangle && p > q) continue;
        const Panels::Panel& left_panel = left_panels_.all[size_t(left.first + p)];
        const Panels::Panel& right_panel = right_panels_.all[size_t(right_.first + q)];
        const int64_t first_left = left_panel.first, first_right = right_panel.first;
        PairBlock<T> block{};
        if (left.panels) {
          block.left = left.panels.get() + p * width_ * job_.x.d;
          block.right = right_.panels.get() + q * width_ * job_.x.d;
        }
        block.d = job_.x.d;
        block.left_squares = left.squares.get() + p * width_;
        block.right_squares = right_.squares.get() + q * width_;
        block.left_valid = left_panel.rows;
        block.right_valid = right_panel.rows;
        block.triangle = triangle && p == q;
        pairs += int64_t(left_panel.rows) * (block.triangle ? left_panel.rows - 1 : 2 * right_panel.rows) / 2;
        block.rates = job_.rates;
        block.rate_count = job_.rate_count;
        block.exp_sums = exp_sums_.data() + task * job_.rate_count;
        block.distance_sum = job_.distances ? &distance_sums_[size_t(task)] : nullptr;
        block.near = near.data();
        block.measure = job_.measure;
        block.rounding = rounding_;
        block.values = values.get();
        block.errors = errors.get();
        block.sign = T(sign_);
        block.has_threshold = job_.has_threshold;
        block.wanted = T(sign_ * job_.threshold);
        block.bins = job_.bins;
        block.low = T(low());
        block.per_unit = T(per_unit());
        block.open_low = job_.measure == Measure::distance ? low() <= 0 : job_.normalize && low() <= -1;
        block.open_high = job_.measure == Measure::cosine && job_.normalize && high() >= 1;
        block.bin = bins.get();
        {
          const InStage stage(Stage::product);
          if (left.words) multiply_rounded(block, left, p, q);
          else product_.pairs(block);
        }
        const InStage stage(Stage::flush);
        for (int k = 0; k < block.near_count; ++k)
          distance_sums_[size_t(task)] +=
              exact(first_left + near[size_t(k)] / width_, first_right + near[size_t(k)] % width_, Measure::distance);
        if (job_.measure == Measure::none) continue;
        if (job_.bins) count(block, first_left, first_right, tally);
        if (block.candidates || double(block.most) >= tally.best) inspect(block, first_left, first_right, tally);
      }
    if (job_.watch) __atomic_fetch_add(job_.watch, pairs, __ATOMIC_RELAXED);
    if (job_.measure == Measure::none) return;
    const InStage stage(Stage::flush);
    std::sort(tally.examples.begin(), tally.examples.end());
    std::lock_guard<std::mutex> lock(mutex_);
    int64_t* const histogram = histogram_.data() + cell_of(tasks_[size_t(task)]) * (size_t(job_.bins) + 2);
    for (size_t k = 0; k < tally.histogram.size(); ++k) {
      histogram[k] += tally.histogram[k];
      for (int turn = 0; turn < turns_; ++turn) histogram[k] += tally.tables[size_t(turn * (job_.bins + 4) + 2) + k];
    }
    close_ += tally.close;
    examples_.insert(examples_.end(), tally.examples.begin(), tally.examples.end());
    keep_first(examples_, 4096);
    if (tally.best > best_ || (tally.best == best_ && tally.nearest < nearest_)) {
      best_ = tally.best;
      nearest_ = tally.nearest;
    }
  }

  void multiply_rounded(const PairBlock<T>& block, const Packed<T>& left, int64_t p, int64_t q) const {
    if constexpr (__is_same(T, float)) {
      const int64_t panel = width_ * packer_.words();
      const RoundedSides sides{left.words.get() + p * panel, right_.words.get() + q * panel,
                               left.units.get() + p * width_, right_.units.get() + q * width_};
      if (!job_.basis) return kernels_.rounded->pairs(block, sides);
      kernels_.tapered->pairs(block, {sides, right_.offsets.get() + q * width_, job_.lead});
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

  // Adds the pairs of a block to the histogram.
  void count(const PairBlock<T>& block, int64_t first_left, int64_t first_right, Tally& tally) const {
    const int64_t cells = block.left_valid * width_;
    const size_t slots = size_t(job_.bins + 4);
    const size_t last = size_t(turns_ - 1);
    int32_t* const tables = tally.tables.data() - bin_no_pair;
    int64_t unsure = 0;
    for (size_t turn = 0; turn <= last; ++turn) unsure -= tables[std::ptrdiff_t(turn * slots) + bin_unsure];
    for (int64_t cell = 0; cell < cells; ++cell)
      ++tables[std::ptrdiff_t((size_t(cell) & last) * slots) + block.bin[cell]];
    for (size_t turn = 0; turn <= last; ++turn) unsure += tables[std::ptrdiff_t(turn * slots) + bin_unsure];
    for (int64_t cell = 0; unsure > 0; ++cell) {
      if (block.bin[cell] != bin_unsure) continue;
      --unsure;
      ++tally.histogram[size_t(bin_of(exact(first_left + cell / width_, first_right + cell % width_)))];
    }
  }

  // Looks for close pairs and the nearest one in a block that may hold some.
  void inspect(const PairBlock<T>& block, int64_t first_left, int64_t first_right, Tally& tally) const {
    const double wanted = sign_ * job_.threshold;
    for (int64_t i = 0; i < block.left_valid; ++i)
      for (int64_t j = block.triangle ? i + 1 : 0; j < block.right_valid; ++j) {
        const size_t cell = size_t(i * width_ + j);
        const double nearness = sign_ * double(block.values[cell]);
        const Pair pair{first_left + i, first_right + j};
        if (job_.has_threshold) {
          const bool unsure = std::fabs(nearness - wanted) <= double(block.errors[cell]);
          if ((unsure ? sign_ * exact(pair[0], pair[1]) : nearness) >= wanted) {
            ++tally.close;
            if (job_.most_examples > 0) {
              tally.examples.push_back(pair);
              keep_first(tally.examples, 4096);
            }
          }
        }
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
  const int turns_;
  const Panels left_panels_, right_panels_;
  const int64_t stretch_;  // panels packed at a time
  RowPacker<T> packer_;
  T rounding_;
  Norms left_norms_, right_norms_;
  Packed<T> left_, right_;
  std::vector<Task> tasks_;
  std::vector<double> exp_sums_, distance_sums_;  // of each task
  std::vector<double> exp_totals_, distance_totals_;  // of each pair of blocks
  std::mutex mutex_;
  std::vector<int64_t> histogram_;  // likewise
  int64_t close_ = 0;
  std::vector<Pair> examples_;
  double best_;
  Pair nearest_{-1, -1};
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

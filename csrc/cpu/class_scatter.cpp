#include "class_scatter.h"

#include <atomic>
#include <cstring>

#include "tile_scatter.h"

namespace featdiv {
namespace {

// A class with more rows than this is shared by all threads; smaller ones are dealt out whole.
constexpr int64_t shared_rows = 16384;
// Rows and features from which splitting into bfloat16 terms and multiplying those takes less than the vector unit does:
// with the figures in docs/numerics.md, 0.75 of its time for 64 features and half of it for 256. Steps of tiles are of
// 32 rows, so fewer would be multiplied mostly with zeros.
constexpr int64_t least_split_rows = tile_depth, least_split_features = 2 * split_width;
// Stretches of classes for each thread, so that all end at about the same time.
constexpr int64_t stretches = 16;

// Rows spread over a class whose mean stands in for the class's own. What the shift is off by costs the scatter about
// one part in so many of its digits, nothing where the rows of a class come in a trend.
constexpr int64_t pilot_rows = 32;
// Sums of one class up to this size stay in the caches until the class is done.
constexpr int64_t scratch_bytes = int64_t{2} << 20;

template <class T>
class ClassRunner {
 public:
  ClassRunner(const ClassScatterJob& job, int64_t most_rows, const Split& split, int threads)
      : job_(job),
        kernels_(kernels(job.isa)),
        like_(scatter_job(0, split, threads)),
        tiles_(like_, most_rows, kernels_),
        shift_(aligned_array<double>(job.rows.d)),
        total_(aligned_array<double>(job.rows.d)) {}

  Outcome run(int64_t c) {
    const int64_t d = job_.rows.d;
    ScatterJob one = scatter_job(c, like_.split, like_.threads);
    one.shift = shift_.get();
    one.total = total_.get();
    const Centring centring{d, one.total, job_.means + c * d,
                            static_cast<char*>(job_.scatters) + c * d * d * result_bytes(job_), job_.narrow};
    std::fill_n(one.total, d, 0.0);
    if (one.rows.n == 0) {
      std::fill_n(centring.mean, d, 0.0);
      memset(centring.scatter, 0, size_t(d * d * result_bytes(job_)));
      return Outcome::done;
    }
    Outcome outcome = take_pilot(one);
    if (outcome != Outcome::done) return outcome;
    // A shift that float32 holds is as good as the mean, and lets narrow rows be packed in float32. A mean beyond
    // its range is left to float64, in which such rows are multiplied anyway.
    for (int64_t j = 0; j < d; ++j) {
      double& shift = shift_[size_t(j)];
      shift = std::fabs(shift) < 1e38 ? double(float(shift)) : 0.0;
    }
    if (!tiles_.takes_whole(one.rows.n) || !tiles_.run_whole(one, centring, outcome))
      outcome = run_by_tiles(one, centring);
    if (outcome != Outcome::done) return outcome;
    for (int64_t j = 0; j < d; ++j) centring.mean[j] += shift_[size_t(j)];
    return Outcome::done;
  }

 private:
  static int64_t result_bytes(const ClassScatterJob& job) {
    return int64_t(job.narrow ? sizeof(float) : sizeof(double));
  }

  // Adds tile by tile to sums in float64, in place or in a scratch.
  Outcome run_by_tiles(ScatterJob one, const Centring& centring) {
    const int64_t entries = job_.rows.d * job_.rows.d;
    if (!scratch_ && !in_place(job_)) scratch_ = aligned_array<double>(entries);
    one.gram = scratch_ ? scratch_.get() : static_cast<double*>(centring.scatter);
    {
      const InStage stage(Stage::flush);
      std::fill_n(one.gram, entries, 0.0);
      std::fill_n(one.total, job_.rows.d, 0.0);
    }
    untamed_.clear();
    Outcome outcome = tiles_.run(one, sizeof(T) == sizeof(float) ? &untamed_ : nullptr).outcome;
    if (outcome == Outcome::done) outcome = run_untamed(one, untamed_, kernels_);
    if (outcome != Outcome::done) return outcome;
    const InStage stage(Stage::flush);
    centring.take_means(one.rows.n);
    kernels_.centre(centring, one.gram);
    finish_lines();
    return outcome;
  }

  // Sums that the caches hold are finished there and written once; larger ones grow where they are to stay.
  static bool in_place(const ClassScatterJob& job) {
    return !job.narrow && job.rows.d * job.rows.d * result_bytes(job) > scratch_bytes;
  }

  Outcome take_pilot(const ScatterJob& one) {
    int64_t index[pilot_rows];
    ScatterJob some = one;
    some.rows.n = std::min(pilot_rows, one.rows.n);
    for (int64_t r = 0; r < some.rows.n; ++r) index[r] = one.rows.index[r * one.rows.n / some.rows.n];
    some.rows.index = index;
    return tiles_.pilot(some, shift_.get());
  }

  ScatterJob scatter_job(int64_t c, const Split& split, int threads) const {
    ScatterJob one{};
    one.rows = job_.rows.slice(job_.starts[c], job_.starts[c + 1] - job_.starts[c]);
    one.normalize = job_.normalize;
    one.doubles = job_.doubles;
    one.threads = threads;
    one.isa = job_.isa;
    one.split = split;
    return one;
  }

  const ClassScatterJob& job_;
  const Kernels& kernels_;
  const ScatterJob like_;
  TileScatter<T> tiles_;
  Array<double> shift_, total_, scratch_;
  std::vector<std::pair<int64_t, int64_t>> untamed_;
};

// Classes that are done in the same way, by all threads together or each by one.
struct Group {
  bool shared;
  Split split;
  int64_t most_rows = 0;
  std::vector<int64_t> classes{};
};

std::vector<Group> group_classes(const ClassScatterJob& job) {
  Split split;
  if (!job.doubles && job.rows.d >= least_split_features)
    split = choose_split(kernels(job.isa).split, job.rows.element, false, job.bound);
  std::vector<Group> groups{{true, split}, {false, split}, {false, {}}};
  for (int64_t c = 0; c < job.classes; ++c) {
    const int64_t n = job.starts[c + 1] - job.starts[c];
    Group& group = groups[n > shared_rows ? 0 : n >= least_split_rows || !split.kernels ? 1 : 2];
    group.classes.push_back(c);
    group.most_rows = std::max(group.most_rows, n);
  }
  return groups;
}

template <class T>
Outcome run_shared(const ClassScatterJob& job, const Group& group) {
  ClassRunner<T> runner(job, group.most_rows, group.split, job.threads);
  for (const int64_t c : group.classes)
    if (const Outcome outcome = runner.run(c); outcome != Outcome::done) return outcome;
  return Outcome::done;
}

template <class T>
Outcome run_whole(const ClassScatterJob& job, const Group& group) {
  std::atomic<Outcome> worst{Outcome::done};
  const int64_t count = int64_t(group.classes.size());
  const int64_t tasks = std::min(count, stretches * job.threads);
  parallel_for(job.threads, tasks, [&](int64_t task) {
    try {
      ClassRunner<T> runner(job, group.most_rows, group.split, 1);
      for (int64_t i = count * task / tasks; i < count * (task + 1) / tasks; ++i) {
        const Outcome outcome = runner.run(group.classes[size_t(i)]);
        if (outcome != Outcome::done) worst.store(outcome);
      }
    } catch (const std::bad_alloc&) {
      worst.store(Outcome::no_memory);
    }
  });
  return worst.load();
}

template <class T>
Outcome run(const ClassScatterJob& job) {
  for (const Group& group : group_classes(job)) {
    if (group.classes.empty()) continue;
    const Outcome outcome = group.shared ? run_shared<T>(job, group) : run_whole<T>(job, group);
    if (outcome != Outcome::done) return outcome;
  }
  return Outcome::done;
}

}  // namespace

Outcome class_scatter(const ClassScatterJob& job) {
  try {
    return job.doubles ? run<double>(job) : run<float>(job);
  } catch (const std::bad_alloc&) {
    return Outcome::no_memory;
  }
}

}  // namespace featdiv

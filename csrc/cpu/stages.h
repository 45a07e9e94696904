// Where the time of the kernels goes: summed over threads, and only while somebody watches.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace featdiv {

// Reading and packing rows; multiplying packed rows, with what is done to a product in registers; and what is done
// with finished products: adding partial sums, counting, keeping candidates, centring.
enum class Stage : int { pack, product, flush, count };

struct StageTimes {
  std::atomic<bool> watched{false};
  std::atomic<int64_t> nanoseconds[int(Stage::count)] = {};
};

inline StageTimes stage_times;

inline void watch_stages(bool on) {
  for (auto& time : stage_times.nanoseconds) time = 0;
  stage_times.watched = on;
}

inline double stage_seconds(Stage stage) { return 1e-9 * double(stage_times.nanoseconds[int(stage)]); }

// Counts the time of its scope. Scopes must not lie inside one another.
class InStage {
 public:
  explicit InStage(Stage stage) : stage_(stage), watched_(stage_times.watched.load(std::memory_order_relaxed)) {
    if (watched_) start_ = Clock::now();
  }
  ~InStage() {
    if (watched_) {
      const auto spent = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start_);
      stage_times.nanoseconds[int(stage_)].fetch_add(spent.count(), std::memory_order_relaxed);
    }
  }
  InStage(const InStage&) = delete;
  InStage& operator=(const InStage&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  const Stage stage_;
  const bool watched_;
  Clock::time_point start_;
};

}  // namespace featdiv

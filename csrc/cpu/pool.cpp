#include "pool.h"

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

namespace featdiv {
namespace {

class Pool {
 public:
  void run(int threads, int64_t tasks, void (*function)(void*, int64_t), void* context) {
    // A job of one thread never asks for the pool: it may be nested in a task of the job that holds it.
    std::unique_lock<std::mutex> owner(owner_, std::defer_lock);
    if (threads <= 1 || tasks <= 1 || !owner.try_lock()) {
      for (int64_t task = 0; task < tasks; ++task) function(context, task);
      return;
    }
    {
      std::lock_guard<std::mutex> lock(mutex_);
      const int wanted = int(tasks < threads ? tasks : threads) - 1;
      start(wanted);
      function_ = function;
      context_ = context;
      tasks_ = tasks;
      next_.store(0, std::memory_order_relaxed);
      seats_ = wanted < workers_ ? wanted : workers_;
      ++job_;
    }
    wake_.notify_all();
    work();
    std::unique_lock<std::mutex> lock(mutex_);
    // Workers that did not wake in time have nothing left to do.
    seats_ = 0;
    done_.wait(lock, [this] { return busy_ == 0; });
  }

 private:
  void start(int wanted) {
    while (workers_ < wanted) {
      try {
        std::thread([this, seen = job_] { serve(seen); }).detach();
      } catch (const std::system_error&) {
        return;
      }
      ++workers_;
    }
  }

  void serve(uint64_t seen) {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return job_ != seen; });
      seen = job_;
      if (seats_ == 0) continue;
      --seats_;
      ++busy_;
      lock.unlock();
      work();
      lock.lock();
      if (--busy_ == 0) done_.notify_one();
    }
  }

  void work() {
    for (int64_t task; (task = next_.fetch_add(1, std::memory_order_relaxed)) < tasks_;) function_(context_, task);
  }

  std::mutex owner_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::atomic<int64_t> next_{0};
  void (*function_)(void*, int64_t) = nullptr;
  void* context_ = nullptr;
  int64_t tasks_ = 0;
  uint64_t job_ = 0;
  int workers_ = 0, seats_ = 0, busy_ = 0;
};

// Never destroyed: its threads sleep until the process ends. A forked child has none of them, and its copy of the
// locks may be held for ever, so it starts with a new pool.
std::atomic<Pool*> pool{nullptr};

Pool& current_pool() {
  static std::once_flag once;
  std::call_once(once, [] {
    pool.store(new Pool);
    pthread_atfork(nullptr, nullptr, [] { pool.store(new Pool); });
  });
  return *pool.load();
}

}  // namespace

void parallel_for(int threads, int64_t tasks, void (*run)(void*, int64_t), void* context) {
  current_pool().run(threads, tasks, run, context);
}

}  // namespace featdiv

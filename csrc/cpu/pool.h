// A pool of threads that sleep between jobs, and that a forked child starts anew.
#pragma once

#include <cstdint>

namespace featdiv {

// Calls run(context, task) for every task in [0, tasks), in no particular order, on up to `threads` threads with the
// calling one among them; returns when all are done. `run` must not throw. A call that comes while another thread's
// job holds the pool does all its tasks itself.
void parallel_for(int threads, int64_t tasks, void (*run)(void* context, int64_t task), void* context);

template <class F>
void parallel_for(int threads, int64_t tasks, F&& f) {
  parallel_for(
      threads, tasks, [](void* context, int64_t task) { (*static_cast<F*>(context))(task); }, &f);
}

}  // namespace featdiv

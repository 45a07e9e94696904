// The limits of this machine: multiply-adds a second, of floats on vectors and on tiles and of integers, and bytes read
// from memory a second.
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__) || defined(__AMX_BF16__)
#include <immintrin.h>
#endif
#if defined(__AMX_BF16__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif

template <class T>
using Vec __attribute__((vector_size(vector_bytes))) = T;

// Independent chains: more than latency times issue rate of any processor that this has met.
constexpr int chains = 12;
// Many short trials: one of them is likely to have the cores for itself.
constexpr int compute_trials = 100, read_trials = 15;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <class F>
double best_seconds(int threads, int trials, F&& work) {
  double best = 1e300;
  for (int trial = 0; trial < trials; ++trial) {
    std::vector<std::thread> others;
    const double start = now();
    for (int t = 1; t < threads; ++t) others.emplace_back(work, t);
    work(0);
    for (auto& other : others) other.join();
    const double seconds = now() - start;
    best = seconds < best ? seconds : best;
  }
  return best;
}

template <class T>
double multiply_adds(int threads) {
  constexpr int64_t turns = 400000;
  volatile T factor = T(0.999), step = T(0.001);
  std::vector<T> out(size_t(threads) * 64);
  const double seconds = best_seconds(threads, compute_trials, [&](int thread) {
    using V = Vec<T>;
    const V a = V{} + T(factor), b = V{} + T(step);
    V sum[chains];
    for (int i = 0; i < chains; ++i) sum[i] = V{} + T(i);
    for (int64_t turn = 0; turn < turns; ++turn)
      for (int i = 0; i < chains; ++i) sum[i] = sum[i] * a + b;
    V all = {};
    for (int i = 0; i < chains; ++i) all += sum[i];
    out[size_t(thread) * 64] = all[0];
  });
  return 2.0 * double(turns) * chains * (vector_bytes / int(sizeof(T))) * threads / seconds;
}

}  // namespace

extern "C" double peak_float32(int threads) { return multiply_adds<float>(threads); }

extern "C" double peak_float64(int threads) { return multiply_adds<double>(threads); }

// Products of bfloat16 on the tiles of AMX; 0 where the processor has none, or the kernel does not lend them.
extern "C" double peak_tiles([[maybe_unused]] int threads) {
#if defined(__AMX_BF16__) && defined(__linux__)
  constexpr long request_permission = 0x1023, tile_data = 18;
  if (syscall(SYS_arch_prctl, request_permission, tile_data) != 0) return 0;
  constexpr int64_t turns = 200000;
  // Six sums hide the latency of one; a product is of 16 x 32 by 32 x 16.
  constexpr int sums = 6;
  struct alignas(64) {
    uint8_t palette = 1, rest[15] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } config;
  const double seconds = best_seconds(threads, compute_trials, [&](int) {
    _tile_loadconfig(&config);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    _tile_zero(6);
    _tile_zero(7);
    for (int64_t turn = 0; turn < turns; ++turn) {
      _tile_dpbf16ps(0, 6, 7);
      _tile_dpbf16ps(1, 6, 7);
      _tile_dpbf16ps(2, 6, 7);
      _tile_dpbf16ps(3, 6, 7);
      _tile_dpbf16ps(4, 6, 7);
      _tile_dpbf16ps(5, 6, 7);
    }
    _tile_release();
  });
  return 2.0 * 16 * 32 * 16 * sums * double(turns) * threads / seconds;
#else
  return 0;
#endif
}

// Products of 8-bit integers in VNNI, of which each instruction adds up four; 0 where the processor has no VNNI.
extern "C" double peak_integers([[maybe_unused]] int threads) {
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
  constexpr int64_t turns = 400000;
  volatile int factor = 0x01010101;
  std::vector<int> out(size_t(threads) * 64);
  const double seconds = best_seconds(threads, compute_trials, [&](int thread) {
    using V = Vec<int>;
    const V a = V{} + factor;
    V sum[chains];
    for (int i = 0; i < chains; ++i) sum[i] = a + i;
    for (int64_t turn = 0; turn < turns; ++turn)
      for (int i = 0; i < chains; ++i)
#if defined(__AVX512VNNI__)
        sum[i] = (V)_mm512_dpbusd_epi32((__m512i)sum[i], (__m512i)a, (__m512i)a);
#else
        sum[i] = (V)_mm256_dpbusd_avx_epi32((__m256i)sum[i], (__m256i)a, (__m256i)a);
#endif
    V all = {};
    for (int i = 0; i < chains; ++i) all += sum[i];
    out[size_t(thread) * 64] = all[0];
  });
  return 2.0 * double(turns) * chains * vector_bytes * threads / seconds;
#else
  return 0;
#endif
}

extern "C" double peak_read_bytes(int threads) {
  constexpr int64_t share = int64_t{64} << 20;
  std::vector<std::unique_ptr<char[]>> buffers;
  for (int t = 0; t < threads; ++t) {
    buffers.emplace_back(new char[size_t(share) + 64]);
    memset(buffers.back().get(), 1, size_t(share) + 64);
  }
  std::vector<float> out(size_t(threads) * 64);
  const double seconds = best_seconds(threads, read_trials, [&](int thread) {
    using V = Vec<float>;
    V sum[8] = {};
    const char* data = buffers[size_t(thread)].get();
    for (int64_t at = 0; at < share; at += 8 * vector_bytes)
      for (int i = 0; i < 8; ++i) {
        V part;
        memcpy(&part, data + at + i * vector_bytes, sizeof part);
        sum[i] += part;
      }
    V all = {};
    for (int i = 0; i < 8; ++i) all += sum[i];
    out[size_t(thread) * 64] = all[0];
  });
  return double(share) * threads / seconds;
}

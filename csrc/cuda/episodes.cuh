// The nearest centroid of each query of many episodes: rows are read where they lie, and never gathered.
//
// An episode takes `taken` rows of each of `ways` classes; the first `shots` of a class are averaged, the others asked.
#include "elements.cuh"

constexpr int episode_threads = 256;

namespace featdiv {

// Queries and centroids whose distances one warp sums at a time.
constexpr int queries_of_warp = 4, centroids_at_once = 4;

struct Episodes {
  const void* x;
  long long row_stride, column_stride;
  const long long* index;  // (episodes, ways, taken)
  int d, ways, taken, shots;

  template <class T>
  __device__ __forceinline__ float at(long long row, int column) const {
    return to_float(static_cast<const T*>(x)[row * row_stride + column * column_stride]);
  }
  __device__ __forceinline__ const long long* places(long long episode, int way) const {
    return index + (episode * ways + way) * taken;
  }
};

template <class T>
__device__ __forceinline__ void average(const Episodes& all, long long episode, int column, double of_shots,
                                        double of_ways, float* centroids, float* centre) {
  float* const own = centroids + episode * all.ways * all.d + column;
  double middle = 0.0;
  for (int way = 0; way < all.ways; ++way) {
    const long long* const places = all.places(episode, way);
    double sum = 0.0;
    for (int shot = 0; shot < all.shots; ++shot) sum += all.at<T>(places[shot], column);
    const double mean = sum * of_shots;
    own[(long long)way * all.d] = float(mean);
    middle += mean;
  }
  const float offset = float(middle * of_ways);
  centre[episode * all.d + column] = offset;
  for (int way = 0; way < all.ways; ++way) own[(long long)way * all.d] -= offset;
}

// The nearest of the centroids of an episode for queries from `first` on, all lanes of the warp together.
template <class T>
__device__ __forceinline__ void nearest_of(const Episodes& all, long long episode, int first, int queries,
                                           const float* centroids, const float* centre, long long* nearest) {
  const int lane = threadIdx.x % 32, asked = all.taken - all.shots;
  long long row[queries_of_warp];
  float best[queries_of_warp];
  int found[queries_of_warp];
  bool finite[queries_of_warp];
#pragma unroll
  for (int i = 0; i < queries_of_warp; ++i) {
    // What is not there is another query, whose answer is not written.
    const int query = first + i < queries ? first + i : queries - 1;
    row[i] = all.places(episode, query / asked)[all.shots + query % asked];
    found[i] = -1;
    best[i] = 0.0f;
    finite[i] = true;
  }
  const float* const own = centroids + episode * all.ways * all.d;
  for (int way = 0; way < all.ways; way += centroids_at_once) {
    float sums[queries_of_warp][centroids_at_once] = {};
    for (int column = lane; column < all.d; column += 32) {
      const float offset = centre[episode * all.d + column];
      float q[queries_of_warp];
#pragma unroll
      for (int i = 0; i < queries_of_warp; ++i) q[i] = all.at<T>(row[i], column) - offset;
#pragma unroll
      for (int j = 0; j < centroids_at_once; ++j) {
        const int there = way + j < all.ways ? way + j : all.ways - 1;
        const float c = own[(long long)there * all.d + column];
#pragma unroll
        for (int i = 0; i < queries_of_warp; ++i) sums[i][j] += (q[i] - c) * (q[i] - c);
      }
    }
#pragma unroll
    for (int j = 0; j < centroids_at_once; ++j) {
#pragma unroll
      for (int i = 0; i < queries_of_warp; ++i) {
        float sum = sums[i][j];
        for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
        // A NaN or an infinity stays not finite when it is taken from itself.
        finite[i] = finite[i] && sum - sum == 0.0f;
        if (way + j < all.ways && (found[i] < 0 || sum < best[i])) {
          best[i] = sum;
          found[i] = way + j;
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < queries_of_warp; ++i) {
    if (lane == 0 && first + i < queries) nearest[episode * queries + first + i] = finite[i] ? found[i] : -1;
  }
}

}  // namespace featdiv

// Centroids about their mean into `centroids` (episodes, ways, d), and that mean into `centre` (episodes, d). Grid:
// episodes, d / 256 up.
extern "C" __global__ void __launch_bounds__(episode_threads)
    episode_centroids(const void* x, int element, long long row_stride, long long column_stride, int d,
                      const long long* index, int ways, int taken, int shots, float* centroids, float* centre) {
  using namespace featdiv;
  const Episodes all = {x, row_stride, column_stride, index, d, ways, taken, shots};
  const int column = blockIdx.y * episode_threads + threadIdx.x;
  if (column >= d) return;
  // Divided by once: a division is a call, across which each element type would keep its registers in memory.
  const double of_shots = 1.0 / shots, of_ways = 1.0 / ways;
  with_element(element, [&](auto value) {
    average<decltype(value)>(all, blockIdx.x, column, of_shots, of_ways, centroids, centre);
  });
}

// The nearest centroid of each query, -1 where a distance is not finite, into `nearest` (episodes, ways, taken - shots).
// Grid: episodes x queries / 32 up.
extern "C" __global__ void __launch_bounds__(episode_threads)
    episode_nearest(const void* x, int element, long long row_stride, long long column_stride, int d,
                    const long long* index, int ways, int taken, int shots, const float* centroids, const float* centre,
                    long long* nearest) {
  using namespace featdiv;
  const Episodes all = {x, row_stride, column_stride, index, d, ways, taken, shots};
  const int queries = ways * (taken - shots);
  constexpr int of_block = episode_threads / 32 * queries_of_warp;
  const unsigned strips = (queries + of_block - 1) / of_block;
  const long long episode = blockIdx.x / strips;
  const int first = int(blockIdx.x % strips) * of_block + threadIdx.x / 32 * queries_of_warp;
  if (first >= queries) return;  // a whole warp
  with_element(element, [&](auto value) {
    nearest_of<decltype(value)>(all, episode, first, queries, centroids, centre, nearest);
  });
}

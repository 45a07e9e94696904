// Eigenvalues of a symmetric matrix by parallel Jacobi rotations (Golub & Van Loan 2013, section 8.5).
//
// Each phase is a function of (thread, threads) that writes nothing another thread of the phase reads, so that a barrier
// between phases is all that a device needs, and a loop over threads all that a host needs.
#pragma once

#if defined(__CUDACC__)
#define FEATDIV_BOTH __host__ __device__ inline
#else
#include <cmath>
#define FEATDIV_BOTH inline
#endif

namespace featdiv {

struct Rotation {
  int p, q;  // q = -1 where the pair is incomplete
  double c, s;
};

// A round-robin tournament of m players (m even): player `slot` of the upper row against the one below it, in round
// 0 to m - 2. Every pair meets once, and no player twice in a round.
FEATDIV_BOTH void jacobi_pair(int m, int round, int slot, int* p, int* q) {
  const int a = slot == 0 ? m - 1 : (round + slot) % (m - 1);
  const int b = (round + m - 1 - slot) % (m - 1);
  *p = a < b ? a : b;
  *q = a < b ? b : a;
}

// The rotation that makes entry (p, q) zero, by the smaller of the two angles.
FEATDIV_BOTH void jacobi_angle(double app, double aqq, double apq, double* c, double* s) {
  if (fabs(apq) < 1e-150) {  // entries are of magnitude 1: this is nothing, and would overflow below
    *c = 1.0;
    *s = 0.0;
    return;
  }
  const double theta = (aqq - app) / (2.0 * apq);
  const double t = (theta < 0.0 ? -1.0 : 1.0) / (fabs(theta) + sqrt(theta * theta + 1.0));
  *c = 1.0 / sqrt(1.0 + t * t);
  *s = t * *c;
}

// Largest magnitude in this thread's share of the lower triangle.
FEATDIV_BOTH double jacobi_largest(const double* in, int d, int thread, int threads) {
  double largest = 0.0;
  for (int at = thread; at < d * d; at += threads) {
    if (at % d <= at / d) largest = fmax(largest, fabs(in[at]));
  }
  return largest;
}

// a = the lower triangle mirrored, times 2^-exponent; v = the identity, if it is wanted.
FEATDIV_BOTH void jacobi_start(const double* in, int d, int exponent, double* a, double* v, int thread, int threads) {
  for (int at = thread; at < d * d; at += threads) {
    const int i = at / d, j = at % d;
    a[at] = scalbn(in[i >= j ? at : j * d + i], -exponent);
    if (v) v[at] = i == j ? 1.0 : 0.0;
  }
}

// This thread's share of the squares below the diagonal (`all` = 0) or of all squares (`all` = 1).
FEATDIV_BOTH double jacobi_squares(const double* a, int d, int all, int thread, int threads) {
  double sum = 0.0;
  for (int at = thread; at < d * d; at += threads) {
    if (all || at % d < at / d) sum += a[at] * a[at];
  }
  return sum;
}

FEATDIV_BOTH void jacobi_angles(const double* a, int d, int round, Rotation* rotations, int thread, int threads) {
  const int m = d + d % 2;
  for (int slot = thread; slot < m / 2; slot += threads) {
    Rotation r;
    jacobi_pair(m, round, slot, &r.p, &r.q);
    r.c = 1.0;
    r.s = 0.0;
    if (r.q < d) {
      jacobi_angle(a[r.p * d + r.p], a[r.q * d + r.q], a[r.p * d + r.q], &r.c, &r.s);
    } else {
      r.q = -1;
    }
    rotations[slot] = r;
  }
}

// Rows p and q of a become c p - s q and s p + c q.
FEATDIV_BOTH void jacobi_rows(double* a, int d, const Rotation* rotations, int thread, int threads) {
  const int pairs = (d + 1) / 2;
  for (int at = thread; at < pairs * d; at += threads) {
    const Rotation r = rotations[at / d];
    if (r.q < 0) continue;
    double* const p = a + r.p * d + at % d;
    double* const q = a + r.q * d + at % d;
    const double x = *p, y = *q;
    *p = r.c * x - r.s * y;
    *q = r.s * x + r.c * y;
  }
}

// Columns p and q of a, and of v where it is wanted, likewise.
FEATDIV_BOTH void jacobi_columns(double* a, double* v, int d, const Rotation* rotations, int thread, int threads) {
  const int pairs = (d + 1) / 2;
  const int rows = v ? 2 * d : d;
  for (int at = thread; at < pairs * rows; at += threads) {
    const Rotation r = rotations[at % pairs];
    const int row = at / pairs;
    if (r.q < 0) continue;
    double* const line = row < d ? a + row * d : v + (row - d) * d;
    const double x = line[r.p], y = line[r.q];
    // Written as the zeros that they are meant to be, entries (p, q) cannot keep the sum of squares from falling.
    line[r.p] = row == r.q ? 0.0 : r.c * x - r.s * y;
    line[r.q] = row == r.p ? 0.0 : r.s * x + r.c * y;
  }
}

// Diagonal entries, scaled back, and columns of v, in ascending order; equal ones by their place.
FEATDIV_BOTH void jacobi_finish(const double* a, const double* v, int d, int exponent, double* values, double* vectors,
                                int thread, int threads) {
  for (int i = thread; i < d; i += threads) {
    const double own = a[i * d + i];
    int rank = 0;
    for (int j = 0; j < d; ++j) {
      const double other = a[j * d + j];
      rank += other < own || (other == own && j < i);
    }
    values[rank] = scalbn(own, exponent);
    for (int row = 0; v && row < d; ++row) vectors[row * d + rank] = v[row * d + i];
  }
}

constexpr int jacobi_sweeps = 40;
constexpr double jacobi_epsilon = 2.220446049250313e-16;

}  // namespace featdiv

#include "fft/line_plan.hpp"

#include <algorithm>
#include <cmath>
#include <complex>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace csmri {

namespace {

using Complex64 = std::complex<double>;

constexpr double kPi = 3.14159265358979323846;

// exp(2 pi i numerator / denominator), from an angle of at most half a turn
Complex64 turn(long long numerator, long long denominator) {
  numerator %= denominator;
  if (2 * numerator > denominator) numerator -= denominator;
  if (2 * numerator < -denominator) numerator += denominator;
  return std::polar(1.0, 2 * kPi * static_cast<double>(numerator) / static_cast<double>(denominator));
}

// The radices in the order of the forward passes; empty if n has a large prime factor. Large primes come first, where
// they meet no twiddle factors; powers of two come last, as fours and eights.
std::vector<int> radices(int n) {
  std::vector<int> factors;
  int twos = 0;
  for (int p = 2; p <= kMaxPrime; ++p)
    for (; n % p == 0; n /= p) p == 2 ? void(++twos) : factors.push_back(p);
  if (n > 1) return {};
  std::reverse(factors.begin(), factors.end());
  for (; twos > 1 && twos % 3; twos -= 2) factors.push_back(4);
  if (twos == 1) factors.push_back(2);
  for (; twos > 2; twos -= 3) factors.push_back(8);
  return factors;
}

bool is_smooth(int n) {
  for (int p : {2, 3, 5, 7})
    while (n % p == 0) n /= p;
  return n == 1;
}

// The DFT of n numbers at distance `stride`, for smooth n, in natural order; roots are exp(-2 pi i k / (n stride)).
std::vector<Complex64> dft(const Complex64* x, int n, int stride, const std::vector<Complex64>& roots) {
  if (n == 1) return {*x};
  int radix = 2;
  while (n % radix) ++radix;
  const int part = n / radix, total = n * stride;
  std::vector<std::vector<Complex64>> parts;
  for (int j = 0; j < radix; ++j) parts.push_back(dft(x + j * stride, part, stride * radix, roots));
  std::vector<Complex64> result(static_cast<std::size_t>(n));
  for (int k = 0; k < n; ++k)
    for (int j = 0; j < radix; ++j)
      result[static_cast<std::size_t>(k)] +=
          parts[static_cast<std::size_t>(j)][static_cast<std::size_t>(k % part)] *
          roots[static_cast<std::size_t>(static_cast<long long>(j) * k % n * stride % total)];
  return result;
}

// A plan and the tables it points to.
template <class T>
struct OwnedPlan {
  LinePlan<T> plan{};
  std::deque<std::vector<T>> tables;  // a deque does not move its elements
  std::vector<int> frequency, centred, slot;

  const T* keep(std::vector<T> table) { return tables.emplace_back(std::move(table)).data(); }
};

template <class T>
void append_turn(std::vector<T>& table, Complex64 w) {
  const double smallest = sizeof(T) == 4 ? 0x1p-30 : 0x1p-60;  // of the cosine: below, the difference is not seen
  const double c = std::abs(w.real()) < smallest ? smallest : w.real();
  table.push_back(static_cast<T>(c));
  table.push_back(static_cast<T>(w.imag() / c));
}

template <class T>
std::vector<T> prime_turns(int p) {
  std::vector<T> table;
  const int pairs = (p - 1) / 2;
  for (int k = 1; k <= pairs; k += 2)
    for (int j = 1; j <= pairs; ++j)
      for (int of = k; of <= std::min(k + 1, pairs); ++of) {
        const Complex64 w = turn(static_cast<long long>(j) * of, p);
        table.push_back(static_cast<T>(w.real()));
        table.push_back(static_cast<T>(w.imag()));
      }
  return table;
}

template <class T>
void plan_mixed_radix(OwnedPlan<T>& owned, const std::vector<int>& factors) {
  LinePlan<T>& plan = owned.plan;
  std::vector<int> kappa{0};  // frequencies of the blocks, modulo their number
  int blocks = 1;
  for (int radix : factors) {
    const int i = plan.n_passes++, span = plan.n / (blocks * radix);
    plan.passes[i] = {radix, blocks, span};
    std::vector<T> forward, inverse;
    for (int k : kappa)
      for (int j = 1; j < radix; ++j) append_turn(forward, turn(static_cast<long long>(j) * k, blocks * radix));
    for (int t = 0; t < span; ++t)
      for (int j = 1; j < radix; ++j) append_turn(inverse, turn(static_cast<long long>(j) * t, span * radix));
    plan.forward_twiddles[i] = owned.keep(std::move(forward));
    plan.inverse_twiddles[i] = owned.keep(std::move(inverse));
    if (radix > kMaxCodelet) plan.prime_turns[i] = owned.keep(prime_turns<T>(radix));
    std::vector<int> next;
    for (int k : kappa)
      for (int j = 0; j < radix; ++j) next.push_back(k + blocks * j);
    kappa = std::move(next);
    blocks *= radix;
  }
  owned.frequency = std::move(kappa);
}

template <class T>
void plan_bluestein(OwnedPlan<T>& owned) {
  LinePlan<T>& plan = owned.plan;
  const int n = plan.n;
  int length = 2 * n - 1;
  while (!is_smooth(length)) ++length;
  plan.convolution = &line_plan<T>(length);
  std::vector<T> chirp;
  std::vector<Complex64> kernel(static_cast<std::size_t>(length));
  for (int j = 0; j < n; ++j) {
    const Complex64 w = turn(static_cast<long long>(j) * j, 2LL * n);  // of conj(chirp)
    chirp.push_back(static_cast<T>(w.real()));
    chirp.push_back(static_cast<T>(-w.imag()));
    kernel[static_cast<std::size_t>(j)] = w;
    if (j) kernel[static_cast<std::size_t>(length - j)] = w;
  }
  std::vector<Complex64> roots(static_cast<std::size_t>(length));
  for (int k = 0; k < length; ++k) roots[static_cast<std::size_t>(k)] = turn(-k, length);
  const std::vector<Complex64> transformed = dft(kernel.data(), length, 1, roots);
  std::vector<T> spectrum;
  for (int slot = 0; slot < length; ++slot) {
    const Complex64 value = transformed[static_cast<std::size_t>(plan.convolution->frequency[slot])];
    spectrum.push_back(static_cast<T>(value.real() / length));
    spectrum.push_back(static_cast<T>(value.imag() / length));
  }
  plan.chirp = owned.keep(std::move(chirp));
  plan.chirp_spectrum = owned.keep(std::move(spectrum));
  for (int k = 0; k < n; ++k) owned.frequency.push_back(k);
}

}  // namespace

template <class T>
const LinePlan<T>& line_plan(int n) {
  static std::recursive_mutex mutex;  // a Bluestein plan asks for its convolution's
  static std::map<int, std::unique_ptr<OwnedPlan<T>>> plans;
  const std::lock_guard<std::recursive_mutex> lock(mutex);
  std::unique_ptr<OwnedPlan<T>>& owned = plans[n];
  if (!owned) {
    auto made = std::make_unique<OwnedPlan<T>>();
    made->plan.n = n;
    const std::vector<int> factors = radices(n);
    if (n == 1 || !factors.empty())
      plan_mixed_radix(*made, factors);
    else
      plan_bluestein(*made);
    std::vector<T> centring;
    for (int k : made->frequency) {
      const Complex64 w = std::sqrt(static_cast<double>(n)) * turn(-static_cast<long long>(k) * (n / 2), n);
      centring.push_back(static_cast<T>(w.real()));
      centring.push_back(static_cast<T>(w.imag()));
    }
    made->plan.centring = made->keep(std::move(centring));
    made->plan.frequency = made->frequency.data();
    made->slot.resize(static_cast<std::size_t>(n));
    for (int k : made->frequency) {
      const int place = (k + n / 2) % n;
      made->slot[static_cast<std::size_t>(place)] = static_cast<int>(made->centred.size());
      made->centred.push_back(place);
    }
    made->plan.centred = made->centred.data();
    made->plan.slot = made->slot.data();
    owned = std::move(made);
  }
  return owned->plan;
}

template const LinePlan<float>& line_plan<float>(int);
template const LinePlan<double>& line_plan<double>(int);

}  // namespace csmri

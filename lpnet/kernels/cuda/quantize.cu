// Rounding to number formats, bit-equal to `Format.quantize`, which explains what is done. One thread rounds the sixteen
// numbers that share a block of random bits, or half of one; they lie one after the other, so it loads and stores them in
// packs.

// Philox4x64-10 of Salmon et al., SC 2011, as numpy.random.Philox has it: c becomes 256 random bits.
__device__ inline void philox(u64 c[4], u64 key) {
  u64 k0 = key, k1 = 0;
  for (int round = 0; round < 10; ++round) {
    const u64 m0 = 0xD2E7470EE14C6C93ull, m1 = 0xCA5A826395121157ull;
    u64 high0 = __umul64hi(m0, c[0]), high1 = __umul64hi(m1, c[2]), low0 = m0 * c[0], low1 = m1 * c[2];
    c[0] = high1 ^ c[1] ^ k0;
    c[1] = low1;
    c[2] = high0 ^ c[3] ^ k1;
    c[3] = low0;
    k0 += 0x9E3779B97F4A7C15ull;
    k1 += 0xBB67AE8584CAA73Bull;
  }
}

#define LANES 16

// Four bytes, the lowest first, each as the upper half of a 16-bit lane.
__device__ inline u64 spread(unsigned bytes) {
  u64 x = (bytes | (u64)bytes << 16) & 0x0000FFFF0000FFFFull;
  return (x << 8 | x << 16) & 0xFF00FF00FF00FF00ull;
}

struct Rounding {  // to integers, in the modes of lpnet/rounding.py
  int mode, bits;  // bits: of a random number, that decide
  u64 seed, site, c[4];

  __device__ inline void draw(i64 group) {
    if (mode != MODE_STOCHASTIC) return;
    bool bytes = bits <= 8;  // of a block of random bits, half of which is this group's
    c[0] = (u64)(bytes ? group >> 1 : group) + 1, c[1] = site, c[2] = 0, c[3] = 0;
    philox(c, seed);
    if (!bytes) return;
    u64 low = group & 1 ? c[2] : c[0], high = group & 1 ? c[3] : c[1];
    c[0] = spread((unsigned)low), c[1] = spread((unsigned)(low >> 32));
    c[2] = spread((unsigned)high), c[3] = spread((unsigned)(high >> 32));
  }

  __device__ inline REAL uniform(int lane) const {  // exact: at most 17 significant bits
    unsigned r = (unsigned)(c[lane >> 2] >> (16 * (lane & 3))) & 0xFFFFu;
    return MUL(ADD((REAL)(r >> (16 - bits)), (REAL)0.5), (REAL)1 / (REAL)(1 << bits));
  }

  __device__ inline REAL operator()(REAL n, int lane) const {
    if (mode == MODE_NEAREST) return RINT(n);
    REAL whole = FLOOR(n);
    if (mode == MODE_STOCHASTIC) return ADD(whole, uniform(lane) < ADD(n, -whole) ? (REAL)1 : (REAL)0);
    if (mode == MODE_TOWARD_ZERO) return TRUNC(n);
    if (mode == MODE_CEIL) return CEIL(n);
    if (mode == MODE_FLOOR) return whole;
    if (mode == MODE_NEAREST_AWAY) {
      whole = TRUNC(n);
      return ADD(whole, with_sign(magnitude(ADD(n, -whole)) >= (REAL)0.5 ? (REAL)1 : (REAL)0, n));
    }
    return ADD(whole, ADD(n, -whole) >= (REAL)0.5 ? (REAL)1 : (REAL)0);  // MODE_NEAREST_UP
  }

  // x / s; where a tiny number is to be rounded away from zero it must not become zero first.
  __device__ inline REAL divided(REAL x, REAL s) const { return kept(x, DIV(x, s)); }
  __device__ inline REAL divided_by_power(REAL x, REAL s) const { return kept(x, over_power(x, s)); }

  __device__ inline REAL kept(REAL x, REAL n) const {
    bool lost = (mode == MODE_FLOOR || mode == MODE_CEIL) && n == 0 && x != 0;
    return lost ? with_sign(FROM_BITS((Bits)1), x) : n;
  }
};

struct Integers {  // from bottom to top, times a gap
  REAL gap, bottom, top;
  int saturate;

  __device__ inline REAL operator()(REAL x, REAL s, const Rounding& round, int lane) const {
    if (!saturate) {  // no finer than the numbers of x itself
      REAL own = MUL(power_below(x), (REAL)1 / ((REAL)(1ull << DIGITS)));
      if (is_finite(own) && own > s) s = own;
    }
    REAL y = MUL(round(round.divided_by_power(x, s), lane), s);
    if (!saturate) return y;
    REAL high = MUL(top, s), low = MUL(bottom, s);
    if (!is_finite(low)) low = -high;  // -2^128 is no float32
    return y < low ? low : y > high ? high : y;
  }
};

struct Floats {  // of exponents low..high, and what lies above `top`
  REAL low, high, unit, smallest, top, beyond, limit;
  int exact, subnormals, clips, directed, signed_zero;

  __device__ inline REAL operator()(REAL x, const Rounding& round, int lane) const {
    REAL power = exact ? exact_power_below(x) : power_below(x);
    REAL s = MUL(power < low ? low : power > high ? high : power, unit);
    if (s < smallest) s = smallest;
    if (!subnormals && power < low) s = low;
    REAL y = MUL(round(round.divided_by_power(x, s), lane), s);
    if (clips)
      y = y < -top ? -top : y > top ? top : y;
    else if (magnitude(y) > top)
      y = beyond;
    y = with_sign(y, x);
    bool inward = round.mode == MODE_TOWARD_ZERO || (round.mode == MODE_FLOOR && x > 0) || (round.mode == MODE_CEIL && x < 0);
    if (directed && inward && is_finite(x) && (magnitude(y) > limit || y != y)) y = with_sign(top, x);
    return y;
  }
};

struct List {  // of `last` + 1 ascending numbers, whose codes count from `first`
  const REAL* values;
  i64 last;
  int first;

  __device__ inline REAL operator()(REAL x, const Rounding& round, int lane) const {
    if (x != x) return x;
    i64 count = 0, beyond = last + 1;  // numbers at most x
    while (count < beyond) {
      i64 middle = (count + beyond) / 2;
      if (values[middle] <= x) count = middle + 1; else beyond = middle;
    }
    i64 place = count > 0 ? count - 1 : 0;
    i64 next = values[place] == x || count == 0 ? place : count > last ? last : count;
    REAL low = values[place], high = values[next];
    double down = (double)x - (double)low, up = (double)high - (double)x;
    if (round.mode == MODE_STOCHASTIC) {
      double between = high > low ? down / ((double)high - (double)low) : 0;
      return between >= 1 || (double)round.uniform(lane) < between ? high : low;
    }
    bool tie = round.mode == MODE_NEAREST        ? (place + first) & 1
               : round.mode == MODE_NEAREST_AWAY ? x > 0
                                                 : round.mode == MODE_NEAREST_UP;
    bool nearer = down > up || (down == up && tie);
    if (round.mode == MODE_FLOOR) return low;
    if (round.mode == MODE_CEIL) return high;
    if (round.mode == MODE_TOWARD_ZERO && !(low < 0 && high > 0)) return x < 0 ? high : low;
    return nearer ? high : low;
  }
};

// Which block a number belongs to, in an array (outer, rows, length, width) cut into tiles of `tall` rows and `tile`
// places along the length; the numbers behind a place have blocks of their own, `inner_step` apart.
struct Blocks {
  i64 rows, length, width, tall, tile, tile_step, row_step, outer_step, inner_step;
  i64 row, cut, within, place, inner, index, first;

  __device__ inline void start_row() {
    i64 outer = divided(row, rows);
    first = outer * outer_step + divided(row - outer * rows, tall) * row_step;
  }

  __device__ inline void go_to(i64 i) {
    i64 before = divided(i, width);
    row = divided(before, length), inner = i - before * width, place = before - row * length;
    cut = divided(place, tile), within = place - cut * tile;
    start_row();
    index = first + cut * tile_step + inner * inner_step;
  }

  __device__ inline void next() {  // without a division within a row
    index += inner_step;
    if (++inner < width) return;
    inner = 0;
    if (++within == tile) within = 0, ++cut;
    if (++place == length) place = within = cut = 0, ++row, start_row();
    index = first + cut * tile_step;
  }
};

#define PACK (16 / (int)sizeof(REAL))
struct alignas(16) Pack { REAL v[PACK]; };

__device__ inline bool whole_group(i64 first, i64 n, const REAL* x, const REAL* y) {
  return first + LANES <= n && (((u64)x | (u64)y) & 15) == 0;
}

__device__ inline void load(REAL* own, const REAL* x, const REAL* y, i64 first, i64 n) {
  if (whole_group(first, n, x, y)) {
#pragma unroll
    for (int p = 0; p < LANES / PACK; ++p) ((Pack*)own)[p] = ((const Pack*)(x + first))[p];
  } else {
#pragma unroll
    for (int lane = 0; lane < LANES; ++lane) own[lane] = first + lane < n ? x[first + lane] : (REAL)0;
  }
}

__device__ inline void store(const REAL* own, const REAL* x, REAL* y, i64 first, i64 n) {
  if (whole_group(first, n, x, y)) {
#pragma unroll
    for (int p = 0; p < LANES / PACK; ++p) ((Pack*)(y + first))[p] = ((const Pack*)own)[p];
  } else {
#pragma unroll
    for (int lane = 0; lane < LANES; ++lane)
      if (first + lane < n) y[first + lane] = own[lane];
  }
}

// sites, where there are any: the seed, and what the site counts from
#define ROUNDING int mode, int bits, const u64* sites, u64 seed, u64 site
#define SHAPE i64 rows, i64 length, i64 width, i64 tall, i64 tile
#define STEPS i64 tile_step, i64 row_step, i64 outer_step, i64 inner_step
// So many blocks of launch.py's 256 threads have registers on a multiprocessor at a time: NVRTC would give a thread more
// than it needs, for the branch that draws bytes.
#define RESIDENT(n) __launch_bounds__(256, DOUBLE ? 2 : n)
#define EACH_GROUP EACH(group, (n + LANES - 1) / LANES)

__device__ inline Bits larger(Bits most, REAL x) {
  Bits b = TO_BITS(x) & ~(Bits)SIGN;
  return b > most ? b : most;
}

// The same of n numbers one after the other, of which `parts` threads take packs in turn.
__device__ inline Bits largest(const REAL* x, i64 n, i64 part, i64 parts) {
  Bits most = 0;
  if (((u64)x & 15) == 0 && n % PACK == 0) {
    const Pack* packs = (const Pack*)x;
#pragma unroll 4
    for (i64 j = part; j < n / PACK; j += parts) {
      Pack pack = packs[j];
#pragma unroll
      for (int k = 0; k < PACK; ++k) most = larger(most, pack.v[k]);
    }
  } else {
    for (i64 j = part; j < n; j += parts) most = larger(most, x[j]);
  }
  return most;
}

// What an element becomes before and after it is rounded in units of its block's scale. A scale of 0 or NaN makes it 0.
__device__ inline REAL in_units(REAL x, REAL scale, const Rounding& round) {
  return scale > 0 ? round.divided(x, scale) : with_sign((REAL)0, x);
}

__device__ inline REAL scaled(REAL y, REAL block, const REAL* whole) {
  y = MUL(y, block);
  return whole ? MUL(y, *whole) : y;
}

// Integers times a gap of the whole array (gaps null) or of each block; with scales, in units of those of each block.
extern "C" __global__ void RESIDENT(4)
    integers(const REAL* x, REAL* y, i64 n, const REAL* gaps, REAL gap, REAL bottom, REAL top, int saturate,
             const REAL* scales, const REAL* blocks, const REAL* whole, SHAPE, STEPS, ROUNDING) {
  Rounding round = {mode, bits, sites ? sites[0] : seed, sites ? sites[1] + site : site, {0, 0, 0, 0}};
  Integers grid = {gap, bottom, top, saturate};
  Blocks at = {rows, length, width, tall, tile, tile_step, row_step, outer_step, inner_step, 0, 0, 0, 0, 0, 0, 0};
  EACH_GROUP {
    alignas(16) REAL own[LANES];
    i64 first = group * LANES;
    load(own, x, y, first, n);
    round.draw(group);
    if (gaps || scales) at.go_to(first);
#pragma unroll
    for (int lane = 0; lane < LANES; ++lane) {
      if (first + lane >= n) continue;
      REAL v = scales ? in_units(own[lane], scales[at.index], round) : own[lane];
      v = grid(v, gaps ? gaps[at.index] : gap, round, lane);
      if (scales) v = scaled(v, blocks[at.index], whole);
      own[lane] = ADD(v, (REAL)0);  // -0.0 + 0.0 is +0.0
      if (gaps || scales) at.next();
    }
    store(own, x, y, first, n);
  }
}

extern "C" __global__ void RESIDENT(4)
    floats(const REAL* x, REAL* y, i64 n, REAL low, REAL high, REAL unit, REAL smallest, REAL top, REAL beyond, REAL limit,
           int exact, int subnormals, int clips, int directed, int signed_zero, const REAL* scales, const REAL* blocks,
           const REAL* whole, SHAPE, STEPS, ROUNDING) {
  Rounding round = {mode, bits, sites ? sites[0] : seed, sites ? sites[1] + site : site, {0, 0, 0, 0}};
  Floats grid = {low, high, unit, smallest, top, beyond, limit, exact, subnormals, clips, directed, signed_zero};
  Blocks at = {rows, length, width, tall, tile, tile_step, row_step, outer_step, inner_step, 0, 0, 0, 0, 0, 0, 0};
  EACH_GROUP {
    alignas(16) REAL own[LANES];
    i64 first = group * LANES;
    load(own, x, y, first, n);
    round.draw(group);
    if (scales) at.go_to(first);
#pragma unroll
    for (int lane = 0; lane < LANES; ++lane) {
      if (first + lane >= n) continue;
      REAL v = scales ? in_units(own[lane], scales[at.index], round) : own[lane];
      v = grid(v, round, lane);
      if (scales) v = scaled(v, blocks[at.index], whole), at.next();
      own[lane] = signed_zero ? v : ADD(v, (REAL)0);
    }
    store(own, x, y, first, n);
  }
}

extern "C" __global__ void RESIDENT(3)
    lists(const REAL* x, REAL* y, i64 n, const REAL* values, i64 last, int first_code, const REAL* scales,
          const REAL* blocks, const REAL* whole, SHAPE, STEPS, ROUNDING) {
  Rounding round = {mode, bits, sites ? sites[0] : seed, sites ? sites[1] + site : site, {0, 0, 0, 0}};
  List grid = {values, last, first_code};
  Blocks at = {rows, length, width, tall, tile, tile_step, row_step, outer_step, inner_step, 0, 0, 0, 0, 0, 0, 0};
  EACH_GROUP {
    alignas(16) REAL own[LANES];
    i64 first = group * LANES;
    load(own, x, y, first, n);
    round.draw(group);
    if (scales) at.go_to(first);
#pragma unroll
    for (int lane = 0; lane < LANES; ++lane) {
      if (first + lane >= n) continue;
      REAL v = scales ? in_units(own[lane], scales[at.index], round) : own[lane];
      v = grid(v, round, lane);
      if (scales) v = scaled(v, blocks[at.index], whole), at.next();
      own[lane] = ADD(v, (REAL)0);
    }
    store(own, x, y, first, n);
  }
}

// The largest magnitudes, as bits (those of NaN are above those of infinity), of n blocks; row r of x (rows, length) is
// of block r % n, and looked at by `parts` threads, of which neighbours read neighbouring numbers. y must be 0 before.
extern "C" __global__ void largest_in_rows(const REAL* x, Bits* y, i64 rows, i64 length, i64 parts, i64 n) {
  EACH(t, rows * parts) {
    i64 row = divided(t, parts);
    Bits most = largest(x + row * length, length, t - row * parts, parts);
    Bits* to = y + (row - divided(row, n) * n);
    if (most > *to) atomicMax(to, most);  // the same in any order, and seldom needed
  }
}

// The same of the tiles of x (outer, length, width), of which `tiles` fill the length; the last may be shorter.
extern "C" __global__ void largest_in_tiles(const REAL* x, Bits* y, i64 n, i64 length, i64 width, i64 tile, i64 tiles) {
  EACH(t, n) {
    i64 before = divided(t, width), outer = divided(before, tiles), first = (before - outer * tiles) * tile;
    i64 inside = first + tile < length ? tile : length - first;
    const REAL* from = x + (outer * length + first) * width + (t - before * width);
    Bits most = 0;
    if (width == 1)
      most = largest(from, inside, 0, 1);
    else
      for (i64 j = 0; j < inside; ++j) most = larger(most, from[j * width]);
    y[t] = most;
  }
}

struct Gap {  // of a block of block floating point: 2^floor(log2 of the largest), held between low and high, times unit
  REAL low, high, unit, smallest;

  __device__ inline REAL operator()(Bits most) const {
    REAL x = FROM_BITS(most), scale = x == 0 ? x : exact_power_below(x);
    REAL gap = MUL(scale < low ? low : scale > high ? high : scale, unit);
    return !is_finite(x) ? FROM_BITS(INFINITE | 1) : gap < smallest ? smallest : gap;  // NaN where one is not finite
  }
};

// The gaps of n blocks, given the bits of their largest magnitudes.
extern "C" __global__ void gaps_of_blocks(const Bits* most, REAL* y, i64 n, REAL low, REAL high, REAL unit,
                                          REAL smallest) {
  Gap gap = {low, high, unit, smallest};
  EACH(i, n) y[i] = gap(most[i]);
}

// The gaps of n blocks that are short rows of x (n, length).
extern "C" __global__ void gaps_of_rows(const REAL* x, REAL* y, i64 n, i64 length, REAL low, REAL high, REAL unit,
                                        REAL smallest) {
  Gap gap = {low, high, unit, smallest};
  EACH(i, n) {
    y[i] = gap(largest(x + i * length, length, 0, 1));
  }
}

// n blocks of random bits of a site, from block `first` on, each of four words.
extern "C" __global__ void random_bits(u64* y, i64 n, const u64* sites, u64 seed, u64 site, i64 first) {
  EACH(block, n) {
    u64 c[4] = {(u64)(first + block) + 1, sites ? sites[1] + site : site, 0, 0};
    philox(c, sites ? sites[0] : seed);
#pragma unroll
    for (int word = 0; word < 4; ++word) y[4 * block + word] = c[word];
  }
}

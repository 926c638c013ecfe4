// What the kernels share: the number type they are compiled for, its bits, and exact arithmetic on it. The same text is
// compiled by NVRTC for the GPU and, for the tests, by a C++ compiler for the host. REAL is float or double (-DREAL=...,
// -DDOUBLE=0 or 1). No multiplication and addition may be contracted into one rounding: hence the explicit functions.
typedef unsigned long long u64;
typedef long long i64;
#if DOUBLE
typedef u64 Bits;
#define MUL __dmul_rn
#define ADD __dadd_rn
#define DIV __ddiv_rn
#define SQRT __dsqrt_rn
#define RINT rint
#define FLOOR floor
#define CEIL ceil
#define TRUNC trunc
#define SIGN 0x8000000000000000ull
#define INFINITE 0x7FF0000000000000ull  // the bits of infinity: all those of the exponent
#define DIGITS 52
#define LOWEST -1074                    // exponent of the smallest number
#define TO_BITS(x) ((Bits)__double_as_longlong(x))
#define FROM_BITS(b) __longlong_as_double((i64)(b))
#else
typedef unsigned int Bits;
#define MUL __fmul_rn
#define ADD __fadd_rn
#define DIV __fdiv_rn
#define SQRT __fsqrt_rn
#define RINT rintf
#define FLOOR floorf
#define CEIL ceilf
#define TRUNC truncf
#define SIGN 0x80000000u
#define INFINITE 0x7F800000u
#define DIGITS 23
#define LOWEST -149
#define TO_BITS(x) ((Bits)__float_as_uint(x))
#define FROM_BITS(b) __uint_as_float(b)
#endif

// The work of a thread: what it takes of n things, a whole grid of threads apart.
#define EACH(i, n) for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += (i64)gridDim.x * blockDim.x)

// The same for rows, of which neighbouring blocks of threads take neighbouring ones.
#define EACH_ROW(i, n) for (i64 i = blockIdx.y; i < (n); i += gridDim.y)

// i / n of numbers from 0 up, four times as fast in 32 bits.
__device__ inline i64 divided(i64 i, i64 n) { return (i | n) >> 32 ? i / n : (unsigned)i / (unsigned)n; }

__device__ inline REAL magnitude(REAL x) { return FROM_BITS(TO_BITS(x) & ~(Bits)SIGN); }
__device__ inline REAL with_sign(REAL x, REAL of) { return FROM_BITS((TO_BITS(x) & ~(Bits)SIGN) | (TO_BITS(of) & SIGN)); }
__device__ inline bool is_finite(REAL x) { return (TO_BITS(x) & INFINITE) != INFINITE; }

// 2^floor(log2 |x|), as `pow2floor` has it: 0 for zero and subnormals, infinity for infinities and NaN.
__device__ inline REAL power_below(REAL x) { return FROM_BITS(TO_BITS(x) & INFINITE); }

// The same for subnormals, too; 1/2 for zero, infinities and NaN (`exact_pow2floor`).
__device__ inline REAL exact_power_below(REAL x) {
  if (x == 0 || !is_finite(x)) return (REAL)0.5;
  Bits b = TO_BITS(x) & ~(Bits)SIGN;
  if (b & INFINITE) return FROM_BITS(b & INFINITE);
  while (b & (b - 1)) b &= b - 1;  // the highest bit of a subnormal is the number
  return FROM_BITS(b);
}

// x / s for a power of two s: the product with 1 / s is the same number, and that has bits where s is neither among the
// subnormals nor the largest.
__device__ inline REAL over_power(REAL x, REAL s) {
  const Bits one = (Bits)1 << DIGITS, both = INFINITE - one;  // the bits of the smallest normal, and of s and 1 / s in all
  return TO_BITS(s) >= one && TO_BITS(s) < both ? MUL(x, FROM_BITS(both - TO_BITS(s))) : DIV(x, s);
}

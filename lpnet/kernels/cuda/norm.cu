// Batch normalization of x (samples, channels, size): sums over a channel in parts, what follows from them channel by
// channel, and one pass that applies it. The parts are added up by the caller, so all sums have a fixed order.

// Of each part of each channel: the sum of u, and of u times v, where v = x - mean, or x, and u = g, or v;
// y is (2, channels, parts).
extern "C" __global__ void channel_sums(const REAL* g, const REAL* x, const REAL* mean, REAL* y, i64 samples, i64 channels,
                                        i64 size, i64 parts) {
  EACH(t, channels * parts) {
    i64 channel = t / parts;
    REAL middle = mean ? mean[channel] : (REAL)0, sum = 0, product = 0;
    for (i64 j = t % parts; j < samples * size; j += parts) {
      i64 sample = divided(j, size), at = (sample * channels + channel) * size + (j - sample * size);
      REAL v = ADD(x[at], -middle), u = g ? g[at] : v;
      sum = ADD(sum, u);
      product = ADD(product, MUL(u, v));
    }
    y[t] = sum;
    y[channels * parts + t] = product;
  }
}

// y = x scale + shift, the shift being such that the mean becomes the bias
extern "C" __global__ void forward_factors(const REAL* mean, const REAL* var, const REAL* weight, const REAL* bias,
                                           REAL* inverse, REAL* scale, REAL* shift, i64 channels, REAL eps) {
  EACH(c, channels) {
    inverse[c] = DIV((REAL)1, SQRT(ADD(var[c], eps)));
    scale[c] = MUL(weight[c], inverse[c]);
    shift[c] = ADD(bias[c], -MUL(mean[c], scale[c]));
  }
}

// gx = gy scale + x slope + shift; products, the sums of gy (x - mean), become the gradient of the weight
extern "C" __global__ void backward_factors(const REAL* mean, const REAL* inverse, const REAL* weight,
                                            const REAL* sums, REAL* products, REAL* scale, REAL* slope, REAL* shift,
                                            i64 channels, REAL count) {
  EACH(c, channels) {
    scale[c] = MUL(weight[c], inverse[c]);
    products[c] = MUL(products[c], inverse[c]);
    slope[c] = DIV(MUL(MUL(-scale[c], products[c]), inverse[c]), count);
    shift[c] = ADD(DIV(MUL(-scale[c], sums[c]), count), -MUL(slope[c], mean[c]));
  }
}

// y = a scale + (b slope) + (shift), with what is there
extern "C" __global__ void affine(const REAL* a, const REAL* scale, const REAL* b, const REAL* slope, const REAL* shift,
                                  REAL* y, i64 n, i64 channels, i64 size) {
  EACH(i, n) {
    i64 row = divided(i, size), c = row - divided(row, channels) * channels;
    REAL value = MUL(a[i], scale[c]);
    if (shift) value = ADD(value, b ? ADD(MUL(b[i], slope[c]), shift[c]) : shift[c]);
    y[i] = value;
  }
}

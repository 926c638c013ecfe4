// The windows of a convolution as the columns of a matrix, and the way back. Neighbouring threads work on neighbouring
// columns of one row. Each input gathers its own gradient, always in the same order: no atomics.
#define GEOMETRY int samples, int size_y, int size_x, int out_y, int out_x, int window_y, int window_x, int stride_y, int stride_x, int padding_y, int padding_x, int dilation_y, int dilation_x

// x (samples, channels, height, width) -> y (channels, window_y, window_x, samples, out_y, out_x)
extern "C" __global__ void windows(const REAL* x, REAL* y, int channels, GEOMETRY) {
  unsigned area = out_y * out_x, columns = samples * area;
  EACH_ROW(channel, (i64)channels) {
    EACH(column, columns) {  // one division by each size, whatever the window
      unsigned sample = (unsigned)column / area, place = (unsigned)column % area, line = place / out_x;
      int first_y = (int)line * stride_y - padding_y, first_x = (int)(place - line * out_x) * stride_x - padding_x;
      const REAL* from = x + ((i64)sample * channels + channel) * size_y * size_x;
      REAL* to = y + channel * window_y * window_x * columns + column;
      for (int k = 0; k < window_y; ++k) {
        int at_y = first_y + k * dilation_y;
        for (int l = 0; l < window_x; ++l, to += columns) {
          int at_x = first_x + l * dilation_x;
          bool inside = at_y >= 0 && at_y < size_y && at_x >= 0 && at_x < size_x;
          *to = inside ? from[at_y * size_x + at_x] : (REAL)0;
        }
      }
    }
  }
}

// Which output sees the position `at` at window place `place`, or -1.
__device__ inline int seen_by(int at, int place, int stride, int padding, int dilation, int out_size) {
  int from = at + padding - place * dilation;
  if (from < 0) return -1;
  if (stride != 1) {
    if (from % stride) return -1;
    from /= stride;
  }
  return from < out_size ? from : -1;
}

// gy, as y above -> gx, as x above: the sum over the windows that an input is in
extern "C" __global__ void windows_back(const REAL* gy, REAL* gx, int channels, GEOMETRY) {
  unsigned area = size_y * size_x, columns = samples * area, out_area = out_y * out_x;
  EACH_ROW(channel, (i64)channels) {
    EACH(column, columns) {
      unsigned sample = (unsigned)column / area, place = (unsigned)column % area;
      int at_y = place / size_x, at_x = place % size_x;
      REAL sum = 0;
      for (int k = 0; k < window_y; ++k) {
        int seen_y = seen_by(at_y, k, stride_y, padding_y, dilation_y, out_y);
        if (seen_y < 0) continue;
        for (int l = 0; l < window_x; ++l) {
          int seen_x = seen_by(at_x, l, stride_x, padding_x, dilation_x, out_x);
          if (seen_x < 0) continue;
          i64 row = (channel * window_y + k) * window_x + l;
          sum = ADD(sum, gy[(row * samples + sample) * out_area + seen_y * out_x + seen_x]);
        }
      }
      gx[((i64)sample * channels + channel) * area + place] = sum;
    }
  }
}

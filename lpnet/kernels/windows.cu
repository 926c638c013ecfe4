// The windows of a convolution as the columns of a matrix, and the way back. Neighbouring threads work on neighbouring
// columns of one row. Each input gathers its own gradient, always in the same order: no atomics.
#define GEOMETRY int samples, int height, int width, int out_height, int out_width, int window_height, int window_width, int stride_y, int stride_x, int padding_y, int padding_x, int dilation_y, int dilation_x

// x (samples, channels, height, width) -> y (channels, window_height, window_width, samples, out_height, out_width)
extern "C" __global__ void windows(const REAL* x, REAL* y, int channels, GEOMETRY) {
  unsigned area = out_height * out_width, columns = samples * area;
  EACH_ROW(row, (i64)channels * window_height * window_width) {
    int l = row % window_width, k = row / window_width % window_height, channel = row / window_width / window_height;
    int first_y = k * dilation_y - padding_y, first_x = l * dilation_x - padding_x;
    EACH(column, columns) {
      unsigned sample = (unsigned)column / area, place = (unsigned)column % area;
      int at_y = (int)(place / out_width) * stride_y + first_y, at_x = (int)(place % out_width) * stride_x + first_x;
      bool inside = at_y >= 0 && at_y < height && at_x >= 0 && at_x < width;
      i64 from = (((i64)sample * channels + channel) * height + at_y) * width + at_x;
      y[row * columns + column] = inside ? x[from] : (REAL)0;
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
  unsigned area = height * width, columns = samples * area, out_area = out_height * out_width;
  EACH_ROW(channel, (i64)channels) {
    EACH(column, columns) {
      unsigned sample = (unsigned)column / area, place = (unsigned)column % area;
      int at_y = place / width, at_x = place % width;
      REAL sum = 0;
      for (int k = 0; k < window_height; ++k) {
        int out_y = seen_by(at_y, k, stride_y, padding_y, dilation_y, out_height);
        if (out_y < 0) continue;
        for (int l = 0; l < window_width; ++l) {
          int out_x = seen_by(at_x, l, stride_x, padding_x, dilation_x, out_width);
          if (out_x < 0) continue;
          i64 row = (channel * window_height + k) * window_width + l;
          sum = ADD(sum, gy[(row * samples + sample) * out_area + out_y * out_width + out_x]);
        }
      }
      gx[((i64)sample * channels + channel) * area + place] = sum;
    }
  }
}

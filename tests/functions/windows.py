"""Convolution and pooling one window at a time: the plain twins of the fast ones."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import strategies as st


def both(value):
    """Return a number or pair as a pair."""
    return tuple(value) if isinstance(value, tuple) else (value, value)


def window(x, kernel, at, stride, padding, dilation):
    """Return what the window at output place `at` sees of an image (C, H, W): {(i, j): (C,)}, without the border."""
    seen = {}
    for i, j in itertools.product(*map(range, kernel)):
        h, w = (a * s - p + d * k for a, s, p, d, k in zip(at, stride, padding, dilation, (i, j), strict=True))
        if 0 <= h < x.shape[1] and 0 <= w < x.shape[2]:
            seen[i, j] = x[:, h, w]
    return seen


def out_shape(size, kernel, stride, padding, dilation):
    """Count the places where the window lies within the padded image, by trying them."""

    def fits(a, n, k, s, p, d):
        return a * s + d * (k - 1) <= n + 2 * p - 1

    return tuple(sum(fits(a, *g) for a in range(99)) for g in zip(size, kernel, stride, padding, dilation, strict=True))


def conv2d(x, W, b, stride=1, padding=0, dilation=1, groups=1):
    """Return the cross-correlation, by its definition."""
    stride, padding, dilation = both(stride), both(padding), both(dilation)
    out = out_shape(x.shape[2:], W.shape[2:], stride, padding, dilation)
    y = np.empty((len(x), len(W), *out))
    for n, o, *at in np.ndindex(y.shape):
        g = o // (len(W) // groups)
        channels = x[n, g * W.shape[1] : (g + 1) * W.shape[1]]
        seen = window(channels, W.shape[2:], at, stride, padding, dilation)
        y[(n, o, *at)] = b[o] + sum((W[o, :, i, j] * v).sum() for (i, j), v in seen.items())
    return y


def conv_transpose2d(x, W, b, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """Return what each input, times the weight, adds to the places of its window, by the definition."""
    stride, padding, extra, dilation = both(stride), both(padding), both(output_padding), both(dilation)
    (n, c, *size), (_, per, *kernel) = x.shape, W.shape
    fields = zip(size, kernel, stride, padding, extra, dilation, strict=True)
    y = np.zeros((n, per * groups, *((m - 1) * s - 2 * p + d * (k - 1) + 1 + e for m, k, s, p, e, d in fields)))
    for k, h, w, i, j in np.ndindex(c, *size, *kernel):
        at = h * stride[0] + i * dilation[0] - padding[0], w * stride[1] + j * dilation[1] - padding[1]
        if 0 <= at[0] < y.shape[2] and 0 <= at[1] < y.shape[3]:
            group = k // (c // groups)
            channels = slice(group * per, (group + 1) * per)
            y[(slice(None), channels, *at)] += np.outer(x[:, k, h, w], W[k, :, i, j])
    return y + b[:, None, None]


def reaching_shape(size, kernel, stride, padding, dilation):
    """Count the places of windows up to the first to reach the end of the padded image, if it begins in the image."""

    def count(n, k, s, p, d):
        wanted = 1  # each further window is there to see what those before it have not reached
        while (wanted - 1) * s + d * (k - 1) + 1 < n + 2 * p and wanted * s < n + p:
            wanted += 1
        return wanted

    return tuple(count(*g) for g in zip(size, kernel, stride, padding, dilation, strict=True))


def pool2d(x, reduce, size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """Return `reduce` of the list of values that each window sees, and of how many places are in the padded image."""
    size, padding, dilation = both(size), both(padding), both(dilation)
    stride = size if stride is None else both(stride)
    geometry = (size, stride, padding, dilation)
    y = np.empty((*x.shape[:2], *(reaching_shape if ceil_mode else out_shape)(x.shape[2:], *geometry)))
    wide = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    for n, c, *at in np.ndindex(y.shape):
        seen = window(x[n], size, at, stride, padding, dilation)
        places = len(window(wide[n], size, at, stride, (0, 0), dilation))
        y[(n, c, *at)] = reduce([v[c] for v in seen.values()], places)
    return y


def pairs(low, high):
    """Draw a number or a pair of them."""
    numbers = st.integers(low, high)
    return numbers | st.tuples(numbers, numbers)

// SGD in one pass: what `SGD.update` says, number by number. `before` is the momentum, null at the first step.
extern "C" __global__ void sgd(const REAL* w, const REAL* g, const REAL* before, REAL* momentum, REAL* y, i64 n, REAL lr,
                               REAL decay, REAL keep, int nesterov) {
  EACH(i, n) {
    REAL u = decay != 0 ? ADD(g[i], MUL(decay, w[i])) : g[i];
    REAL v = before ? ADD(MUL(keep, before[i]), u) : u;
    if (keep != 0) momentum[i] = v;
    y[i] = ADD(w[i], -MUL(lr, nesterov ? ADD(u, MUL(keep, v)) : v));
  }
}

/* optim_body.h - optimizer steps for one type: REAL is float or double, NAME(x) the function's name.
 *
 * Plain loops that compilers vectorize: also the text of kernels/simd/optim.c.
 */

void NAME(sgd)(int64_t n, REAL *p, const REAL *gradient, REAL *velocity, const tx_sgd_factors *f) {
  const REAL lr = (REAL)f->lr, decay = (REAL)f->decay, keep = (REAL)f->keep, fresh = (REAL)f->fresh;
  const REAL of_gradient = (REAL)f->of_gradient, of_velocity = (REAL)f->of_velocity;
  if (velocity == NULL) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) p[i] -= lr * (gradient[i] + decay * p[i]);
    return;
  }
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    REAL g = gradient[i] + decay * p[i], v = keep * velocity[i] + fresh * g;
    velocity[i] = v;
    p[i] -= lr * (of_gradient * g + of_velocity * v);
  }
}

void NAME(adam)(int64_t n, REAL *p, const REAL *gradient, REAL *mean, REAL *square, const tx_adam_factors *f) {
  const REAL beta1 = (REAL)f->beta1, beta2 = (REAL)f->beta2, rest1 = (REAL)(1 - f->beta1), rest2 = (REAL)(1 - f->beta2);
  const REAL step = (REAL)f->step, correction = (REAL)f->correction, eps = (REAL)f->eps;
  const REAL decay = (REAL)f->decay, shrink = (REAL)f->shrink;
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    REAL g = gradient[i] + decay * p[i];
    REAL m = beta1 * mean[i] + rest1 * g, v = beta2 * square[i] + rest2 * g * g;
    mean[i] = m;
    square[i] = v;
    p[i] = p[i] * shrink - step * m / (SQRT(v) * correction + eps);
  }
}

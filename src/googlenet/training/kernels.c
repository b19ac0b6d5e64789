/* What a training step in bf16 spends beside its convolutions, in one pass each: max pooling, and batch normalisation
 * with its ReLU. Maps are (N, H, W, C) in memory; bf16 is the upper half of a float. Compiled and called by kernels.py. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 64 /* rows summed in float before they are added to a double */
#define PARTS 32 /* of all rows, summed apart whatever the number of threads, so that sums do not depend on it */

typedef uint16_t bf16;

static inline float up(bf16 x) {
    uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static inline bf16 down(float value) { /* to the nearest, ties to even; NaN stays NaN */
    uint32_t bits;
    memcpy(&bits, &value, 4);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return (bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : (bf16)rounded;
}

static inline int16_t ordered(int16_t x) { return x ^ ((x >> 15) & 0x7fff); } /* as bf16 are; its own inverse */

static inline int largest(int a, int b) { return a > b ? a : b; }
static inline int least(int a, int b) { return a < b ? a : b; }

/* Of equal values the first in a window is the largest, as in torch. which: its place in the window. */
void max_pool(const int16_t *x, int16_t *y, uint8_t *which, int n, int h, int w, int c, int oh, int ow, int k,
              int stride, int pad) {
#pragma omp parallel for
    for (int row = 0; row < n * oh; row++) {
        int top = (row % oh) * stride - pad;
        const int16_t *image = x + (size_t)(row / oh) * h * w * c;
        for (int column = 0; column < ow; column++) {
            int left = column * stride - pad, first = 1;
            int16_t *best = y + ((size_t)row * ow + column) * c;
            uint8_t *place = which + ((size_t)row * ow + column) * c;
            for (int i = largest(top, 0); i < least(top + k, h); i++)
                for (int j = largest(left, 0); j < least(left + k, w); j++) {
                    const int16_t *at = image + ((size_t)i * w + j) * c;
                    uint8_t here = (uint8_t)((i - top) * k + j - left);
                    if (first) {
                        for (int l = 0; l < c; l++) best[l] = ordered(at[l]), place[l] = here;
                        first = 0;
                        continue;
                    }
                    for (int l = 0; l < c; l++) {
                        int16_t value = ordered(at[l]);
                        place[l] = value > best[l] ? here : place[l];
                        best[l] = value > best[l] ? value : best[l];
                    }
                }
            for (int l = 0; l < c; l++) best[l] = ordered(best[l]);
        }
    }
}

void max_pool_backward(const bf16 *gy, const uint8_t *which, bf16 *gx, int n, int h, int w, int c, int oh, int ow,
                       int k, int stride, int pad) {
#pragma omp parallel
    {
        float *sum = malloc(sizeof(float) * (size_t)c);
#pragma omp for
        for (int row = 0; row < n * h; row++) {
            int i = row % h + pad;
            size_t image = (size_t)(row / h) * oh * ow;
            for (int column = 0; column < w; column++) {
                int j = column + pad;
                memset(sum, 0, sizeof(float) * (size_t)c);
                for (int p = largest(0, (i - k) / stride + (i >= k)); p <= least(oh - 1, i / stride); p++)
                    for (int q = largest(0, (j - k) / stride + (j >= k)); q <= least(ow - 1, j / stride); q++) {
                        size_t at = (image + (size_t)p * ow + q) * c;
                        uint8_t here = (uint8_t)((i - p * stride) * k + j - q * stride);
                        const bf16 *from = gy + at;
                        const uint8_t *place = which + at;
                        for (int l = 0; l < c; l++) sum[l] += place[l] == here ? up(from[l]) : 0.0f;
                    }
                bf16 *to = gx + ((size_t)row * w + column) * c;
                for (int l = 0; l < c; l++) to[l] = down(sum[l]);
            }
        }
        free(sum);
    }
}

static void add_block(double *total, float *block, int c) {
    for (int l = 0; l < c; l++) total[l] += block[l], block[l] = 0.0f;
}

static void add_parts(const double *parts, double *sums, int c) {
    memset(sums, 0, sizeof(double) * (size_t)c);
    for (int part = 0; part < PARTS; part++)
        for (int l = 0; l < c; l++) sums[l] += parts[(size_t)part * c + l];
}

/* scale, shift (c): y = x * scale + shift is x normalised. */
static void affine(const float *weight, const float *bias, const float *mean, const float *inverse, float *scale,
                   float *shift, int c) {
    for (int l = 0; l < c; l++) {
        scale[l] = weight[l] * inverse[l];
        shift[l] = bias[l] - mean[l] * scale[l];
    }
}

/* x (rows, c), with x_stride from row to row, normalised by its mean and 1 / deviation (c), which are kept; then a ReLU.
 * running_mean, running_var (c) are updated. Returns 0 if there is no memory. */
int norm_relu(const bf16 *x, int64_t x_stride, bf16 *y, const float *weight, const float *bias, float *running_mean,
              float *running_var, float *mean, float *inverse, int64_t rows, int c, float momentum, float eps) {
    int64_t each = (rows + PARTS - 1) / PARTS;
    double *parts = calloc((size_t)c * 2 * (PARTS + 1), sizeof(double)), *sums = parts + (size_t)c * 2 * PARTS;
    float *blocks = calloc((size_t)c * 2 * PARTS, sizeof(float)), *scale = malloc(sizeof(float) * (size_t)c * 2);
    int enough = parts && blocks && scale;
    if (enough) {
#pragma omp parallel for schedule(static)
        for (int part = 0; part < PARTS; part++) {
            float *block = blocks + (size_t)part * 2 * c;
            int64_t end = (part + 1) * each < rows ? (part + 1) * each : rows;
            for (int64_t row = part * each; row < end; row++) {
                const bf16 *from = x + row * x_stride;
                for (int l = 0; l < c; l++) {
                    float value = up(from[l]);
                    block[l] += value;
                    block[c + l] += value * value;
                }
                if (row % BLOCK == BLOCK - 1 || row == end - 1) add_block(parts + (size_t)part * 2 * c, block, 2 * c);
            }
        }
        add_parts(parts, sums, 2 * c);
        for (int l = 0; l < c; l++) {
            double middle = sums[l] / rows, variance = sums[c + l] / rows - middle * middle;
            variance = variance < 0 ? 0 : variance; /* NaN stays NaN */
            mean[l] = (float)middle;
            inverse[l] = (float)(1 / sqrt(variance + eps));
            running_mean[l] += momentum * (mean[l] - running_mean[l]);
            running_var[l] += momentum * ((float)(variance * rows / (rows > 1 ? rows - 1 : 1)) - running_var[l]);
        }
        float *shift = scale + c;
        affine(weight, bias, mean, inverse, scale, shift, c);
#pragma omp parallel for schedule(static)
        for (int64_t row = 0; row < rows; row++) {
            const bf16 *from = x + row * x_stride;
            bf16 *to = y + row * c;
            for (int l = 0; l < c; l++) {
                float value = up(from[l]) * scale[l] + shift[l];
                to[l] = down(value < 0 ? 0 : value);
            }
        }
    }
    free(parts);
    free(blocks);
    free(scale);
    return enough;
}

/* The gradients of x, weight and bias from that of y; gx has the stride of x. */
int norm_relu_backward(const bf16 *gy, int64_t gy_stride, const bf16 *x, int64_t x_stride, const float *weight,
                       const float *bias, const float *mean, const float *inverse, bf16 *gx, float *gweight,
                       float *gbias, int64_t rows, int c) {
    int64_t each = (rows + PARTS - 1) / PARTS;
    double *parts = calloc((size_t)c * 2 * (PARTS + 1), sizeof(double)), *sums = parts + (size_t)c * 2 * PARTS;
    float *blocks = calloc((size_t)c * 2 * PARTS, sizeof(float)), *scale = malloc(sizeof(float) * (size_t)c * 4);
    int enough = parts && blocks && scale;
    if (enough) {
        float *shift = scale + c, *of_x = scale + 2 * c, *constant = scale + 3 * c;
        affine(weight, bias, mean, inverse, scale, shift, c);
#pragma omp parallel for schedule(static)
        for (int part = 0; part < PARTS; part++) {
            float *block = blocks + (size_t)part * 2 * c;
            int64_t end = (part + 1) * each < rows ? (part + 1) * each : rows;
            for (int64_t row = part * each; row < end; row++) {
                const bf16 *above = gy + row * gy_stride, *from = x + row * x_stride;
                for (int l = 0; l < c; l++) {
                    float value = up(from[l]);
                    float gradient = value * scale[l] + shift[l] > 0 ? up(above[l]) : 0.0f;
                    block[l] += gradient;
                    block[c + l] += gradient * (value - mean[l]);
                }
                if (row % BLOCK == BLOCK - 1 || row == end - 1) add_block(parts + (size_t)part * 2 * c, block, 2 * c);
            }
        }
        add_parts(parts, sums, 2 * c);
        for (int l = 0; l < c; l++) { /* gx = scale * gradient + of_x * x + constant */
            gbias[l] = (float)sums[l];
            gweight[l] = (float)(sums[c + l] * inverse[l]);
            of_x[l] = (float)(-(double)scale[l] * gweight[l] * inverse[l] / rows);
            constant[l] = (float)(-(double)scale[l] * gbias[l] / rows - (double)of_x[l] * mean[l]);
        }
#pragma omp parallel for schedule(static)
        for (int64_t row = 0; row < rows; row++) {
            const bf16 *above = gy + row * gy_stride, *from = x + row * x_stride;
            bf16 *to = gx + row * x_stride;
            for (int l = 0; l < c; l++) {
                float value = up(from[l]);
                float gradient = value * scale[l] + shift[l] > 0 ? up(above[l]) : 0.0f;
                to[l] = down(scale[l] * gradient + of_x[l] * value + constant[l]);
            }
        }
    }
    free(parts);
    free(blocks);
    free(scale);
    return enough;
}

/* Runs the kernels of kernels.cu on the CPU: blocks and threads one after the other, threads in either order.
 *
 * Reads sizes and arrays from the standard input and writes what each kernel makes to the standard output, all as the
 * machine holds them, in the order of emulation.rs. All memory is NaN before a kernel writes it. */

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    unsigned int x, y, z;
} threadIdx, blockIdx;

static unsigned int __float_as_uint(float value) {
    unsigned int bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float __uint_as_float(unsigned int bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#define KERNEL static void
#define DEVICE static
#define SHARED static
#define SYNC ((void)0)
#ifdef BACKWARDS
#define FOR_THREADS for (threadIdx.x = THREADS; threadIdx.x-- > 0;)
#else
#define FOR_THREADS for (threadIdx.x = 0; threadIdx.x < THREADS; threadIdx.x++)
#endif

#include "kernels.cu"

#define LAUNCH(blocks_x, blocks_y, blocks_z, call)                                        \
    for (blockIdx.z = 0; blockIdx.z < (blocks_z); blockIdx.z++)                           \
        for (blockIdx.y = 0; blockIdx.y < (blocks_y); blockIdx.y++)                       \
            for (blockIdx.x = 0; blockIdx.x < (blocks_x); blockIdx.x++)                   \
    call

static void *memory(size_t count, size_t size) {
    void *values = malloc(count * size);
    if (values == NULL) {
        exit(2);
    }
    return memset(values, 0xff, count * size);
}

static void *read_array(size_t count, size_t size) {
    void *values = memory(count, size);
    if (fread(values, size, count, stdin) != count) {
        exit(3);
    }
    return values;
}

static void write_array(const void *values, size_t count, size_t size) {
    if (fwrite(values, size, count, stdout) != count) {
        exit(4);
    }
}

int main(void) {
    const unsigned int *sizes = read_array(8, sizeof *sizes);
    const unsigned int images = sizes[0], channels = sizes[1], plane = sizes[2], segments = sizes[3];
    const unsigned int tiles_x = sizes[4], tiles_y = sizes[5], tiles_z = sizes[6];
    const int activation = (int)sizes[7];
    const double *share = read_array(1, sizeof *share);
    const size_t planes = (size_t)images * channels, count = planes * plane;
    const unsigned int blocks = images * channels * segments;
    const float *x = read_array(count, sizeof *x);
    const float *gradient = read_array(count, sizeof *gradient);
    const float *gain = read_array(channels, sizeof *gain);
    const float *bias = read_array(channels, sizeof *bias);
    const float *moments = read_array(2 * (size_t)channels, sizeof *moments);
    const float *dropout = read_array(planes, sizeof *dropout);

    float *pivots = memory(channels, sizeof *pivots);
    double *parts = memory(2 * (size_t)blocks, sizeof *parts);
    double *sums = memory(2 * (size_t)channels, sizeof *sums);
    float *first = memory(channels, sizeof *first);
    float *second = memory(channels, sizeof *second);
    float *out = memory(count, sizeof *out);
    unsigned short *halves = memory(count, sizeof *halves);

    LAUNCH(blocks, 1, 1, moment_parts(x, channels, plane, segments, 1, pivots, parts));
    LAUNCH(channels, 1, 1, sum_parts(parts, images, channels, segments, sums, first, second));
    write_array(pivots, channels, sizeof *pivots);
    write_array(sums, 2 * (size_t)channels, sizeof *sums);

    LAUNCH(blocks, 1, 1, moment_parts(x, channels, plane, segments, 0, pivots, parts));
    LAUNCH(channels, 1, 1, sum_parts(parts, images, channels, segments, sums, first, second));
    write_array(first, channels, sizeof *first);

    LAUNCH(blocks, 1, 1,
           normalize(x, channels, plane, segments, moments, gain, bias, dropout, activation, out));
    write_array(out, count, sizeof *out);

    LAUNCH(blocks, 1, 1,
           gradient_parts(x, out, gradient, channels, plane, segments, moments, dropout, activation, parts));
    LAUNCH(channels, 1, 1, sum_parts(parts, images, channels, segments, sums, first, second));
    write_array(first, channels, sizeof *first);
    write_array(second, channels, sizeof *second);

    float *gradient_x = memory(count, sizeof *gradient_x);
    LAUNCH(blocks, 1, 1,
           gradient_input(x, out, gradient, channels, plane, segments, moments, gain, dropout, activation, sums,
                          *share, gradient_x));
    write_array(gradient_x, count, sizeof *gradient_x);

    memcpy(out, x, count * sizeof *out);
    LAUNCH(blocks, 1, 1, add_bias(bias, channels, plane, segments, out));
    write_array(out, count, sizeof *out);

    LAUNCH(tiles_x, tiles_y, tiles_z, channels_last_bf16(x, channels, plane, halves));
    write_array(halves, count, sizeof *halves);
    memset(out, 0xff, count * sizeof *out);
    LAUNCH(tiles_x, tiles_y, tiles_z, channels_first_f32(halves, channels, plane, out));
    write_array(out, count, sizeof *out);
    return 0;
}

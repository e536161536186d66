// The engine's own kernels: batch normalization with activation and dropout, sums, and changes of memory order.
//
// Written in what C and CUDA C++ share, so that a test can compile this very text with the system's C compiler and
// run it (see emulation.c, which gives the capital words below another meaning). Hence no templates, no warp
// functions, no headers, and no private variable that lives across a SYNC: between two of them, FOR_THREADS encloses
// what each thread of the block does, and all that threads hand on lies in SHARED arrays.
//
// Tensors are [N, C, H, W] in f32. A plane is one channel of one image; a block works on one segment of one plane,
// SEGMENT values at most, and block b is segment b % segments of plane b / segments.
// Every sum has one fixed order, so that the same input gives the same bits in each run on one kind of GPU.

#ifndef KERNEL
#define KERNEL extern "C" __global__ void
#define DEVICE static __device__ __forceinline__
#define SHARED __shared__
#define FOR_THREADS
#define SYNC __syncthreads()
#endif

// THREADS, SEGMENT, TILE and TILE_ROWS are defined by the launcher, which must agree.

// Activations, as in the launcher.
#define LINEAR 0
#define ELU 1
#define RELU 2
#define SIGMOID 3

DEVICE float activate(int activation, float z) {
    if (activation == ELU) {
        return z > 0.0f ? z : expm1f(z);
    }
    if (activation == RELU) {
        // Written so that NaN stays NaN.
        return z < 0.0f ? 0.0f : z;
    }
    if (activation == SIGMOID) {
        // Only ever the exponential of a negative number, which cannot overflow.
        const float e = expf(-fabsf(z));
        const float small = e / (1.0f + e);
        return z < 0.0f ? small : 1.0f - small;
    }
    return z;
}

// The derivative where the activation's value is a.
DEVICE float activation_slope(int activation, float a) {
    if (activation == ELU) {
        return a > 0.0f ? 1.0f : a + 1.0f;
    }
    if (activation == RELU) {
        return a > 0.0f ? 1.0f : 0.0f;
    }
    if (activation == SIGMOID) {
        return a * (1.0f - a);
    }
    return 1.0f;
}

// The end of a segment, which the last one of a plane may not fill.
DEVICE unsigned int segment_end(unsigned int segment, unsigned int plane_size) {
    const unsigned int first = segment * SEGMENT;
    return plane_size - first > SEGMENT ? first + SEGMENT : plane_size;
}

// Sums two values a thread over the block, pairwise; the result is in the first two.
#define SUM_OVER_BLOCK(shared)                                                    \
    for (unsigned int half = THREADS / 2; half > 0; half /= 2) {                  \
        FOR_THREADS {                                                             \
            if (threadIdx.x < half) {                                             \
                (shared)[2 * threadIdx.x] += (shared)[2 * (threadIdx.x + half)];  \
                (shared)[2 * threadIdx.x + 1] += (shared)[2 * (threadIdx.x + half) + 1]; \
            }                                                                     \
        }                                                                         \
        SYNC;                                                                     \
    }

// parts[block] = sums of x - p and of (x - p)^2 over the block's segment.
//
// With use_pivot, p is the channel's first value, so that a large mean does not drown the variance, and is written
// to pivots[channel]; otherwise it is zero.
KERNEL moment_parts(const float *x, unsigned int channels, unsigned int plane_size, unsigned int segments,
                    int use_pivot, float *pivots, double *parts) {
    SHARED double sums[2 * THREADS];
    FOR_THREADS {
        const unsigned int plane = blockIdx.x / segments;
        const unsigned int segment = blockIdx.x % segments;
        const unsigned int channel = plane % channels;
        const float *values = x + (size_t)plane * plane_size;
        const float pivot = use_pivot ? x[(size_t)channel * plane_size] : 0.0f;
        double sum = 0.0;
        double squares = 0.0;
        for (unsigned int i = segment * SEGMENT + threadIdx.x; i < segment_end(segment, plane_size); i += THREADS) {
            const double value = (double)values[i] - (double)pivot;
            sum += value;
            squares += value * value;
        }
        sums[2 * threadIdx.x] = sum;
        sums[2 * threadIdx.x + 1] = squares;
        if (blockIdx.x == channel * segments && threadIdx.x == 0) {
            pivots[channel] = pivot;
        }
    }
    SYNC;
    SUM_OVER_BLOCK(sums)
    FOR_THREADS {
        if (threadIdx.x < 2) {
            parts[2 * (size_t)blockIdx.x + threadIdx.x] = sums[threadIdx.x];
        }
    }
}

// Adds up the parts of each channel: block c makes sums[c], and the same in f32.
KERNEL sum_parts(const double *parts, unsigned int images, unsigned int channels, unsigned int segments,
                 double *sums, float *first, float *second) {
    SHARED double shared[2 * THREADS];
    FOR_THREADS {
        const unsigned int channel = blockIdx.x;
        double sum0 = 0.0;
        double sum1 = 0.0;
        for (unsigned int i = threadIdx.x; i < images * segments; i += THREADS) {
            const size_t plane = (size_t)(i / segments) * channels + channel;
            const size_t part = 2 * (plane * segments + i % segments);
            sum0 += parts[part];
            sum1 += parts[part + 1];
        }
        shared[2 * threadIdx.x] = sum0;
        shared[2 * threadIdx.x + 1] = sum1;
    }
    SYNC;
    SUM_OVER_BLOCK(shared)
    FOR_THREADS {
        if (threadIdx.x == 0) {
            const unsigned int channel = blockIdx.x;
            sums[2 * channel] = shared[0];
            sums[2 * channel + 1] = shared[1];
            first[channel] = (float)shared[0];
            second[channel] = (float)shared[1];
        }
    }
}

// out = d * act((x - mean) * (gain * inverse_sd) + bias); moments holds mean and inverse_sd of each channel, dropout
// d of each plane.
KERNEL normalize(const float *x, unsigned int channels, unsigned int plane_size, unsigned int segments,
                 const float *moments, const float *gain, const float *bias, const float *dropout, int activation,
                 float *out) {
    FOR_THREADS {
        const unsigned int plane = blockIdx.x / segments;
        const unsigned int segment = blockIdx.x % segments;
        const unsigned int channel = plane % channels;
        const size_t offset = (size_t)plane * plane_size;
        const float mean = moments[2 * channel];
        const float slope = gain[channel] * moments[2 * channel + 1];
        const float shift = bias[channel];
        const float factor = dropout[plane];
        for (unsigned int i = segment * SEGMENT + threadIdx.x; i < segment_end(segment, plane_size); i += THREADS) {
            // A dropped channel is zero even where its value is not finite.
            out[offset + i] =
                factor == 0.0f ? 0.0f : factor * activate(activation, (x[offset + i] - mean) * slope + shift);
        }
    }
}

// The gradient after the normalization at value i.
DEVICE float inner_gradient(const float *out, const float *gradient, size_t i, float factor, int activation) {
    const float a = factor > 0.0f ? out[i] * (1.0f / factor) : 0.0f;
    return gradient[i] * factor * activation_slope(activation, a);
}

// parts[block] = sums over the block's segment of the gradient after the normalization, and of its product with the
// normalized value.
KERNEL gradient_parts(const float *x, const float *out, const float *gradient, unsigned int channels,
                      unsigned int plane_size, unsigned int segments, const float *moments, const float *dropout,
                      int activation, double *parts) {
    SHARED double sums[2 * THREADS];
    FOR_THREADS {
        const unsigned int plane = blockIdx.x / segments;
        const unsigned int segment = blockIdx.x % segments;
        const unsigned int channel = plane % channels;
        const size_t offset = (size_t)plane * plane_size;
        const float mean = moments[2 * channel];
        const float inverse_sd = moments[2 * channel + 1];
        const float factor = dropout[plane];
        double sum = 0.0;
        double product = 0.0;
        if (factor != 0.0f) {
            for (unsigned int i = segment * SEGMENT + threadIdx.x; i < segment_end(segment, plane_size);
                 i += THREADS) {
                const double g = (double)inner_gradient(out, gradient, offset + i, factor, activation);
                sum += g;
                product += g * (double)((x[offset + i] - mean) * inverse_sd);
            }
        }
        sums[2 * threadIdx.x] = sum;
        sums[2 * threadIdx.x + 1] = product;
    }
    SYNC;
    SUM_OVER_BLOCK(sums)
    FOR_THREADS {
        if (threadIdx.x < 2) {
            parts[2 * (size_t)blockIdx.x + threadIdx.x] = sums[threadIdx.x];
        }
    }
}

// The gradient with respect to x. sums are those of gradient_parts over each channel; share is one over the number of
// values of a channel where the statistics are the batch's own, and zero where they are constants.
KERNEL gradient_input(const float *x, const float *out, const float *gradient, unsigned int channels,
                      unsigned int plane_size, unsigned int segments, const float *moments, const float *gain,
                      const float *dropout, int activation, const double *sums, double share, float *gradient_x) {
    FOR_THREADS {
        const unsigned int plane = blockIdx.x / segments;
        const unsigned int segment = blockIdx.x % segments;
        const unsigned int channel = plane % channels;
        const size_t offset = (size_t)plane * plane_size;
        const float mean = moments[2 * channel];
        const float inverse_sd = moments[2 * channel + 1];
        const float slope = gain[channel] * inverse_sd;
        const float factor = dropout[plane];
        const float mean_gradient = (float)(sums[2 * channel] * share);
        const float mean_product = (float)(sums[2 * channel + 1] * share);
        for (unsigned int i = segment * SEGMENT + threadIdx.x; i < segment_end(segment, plane_size); i += THREADS) {
            const float g = inner_gradient(out, gradient, offset + i, factor, activation);
            const float normalized = (x[offset + i] - mean) * inverse_sd;
            gradient_x[offset + i] = slope * (g - mean_gradient - normalized * mean_product);
        }
    }
}

// Adds each channel's bias to its planes.
KERNEL add_bias(const float *bias, unsigned int channels, unsigned int plane_size, unsigned int segments, float *y) {
    FOR_THREADS {
        const unsigned int plane = blockIdx.x / segments;
        const unsigned int segment = blockIdx.x % segments;
        const float shift = bias[plane % channels];
        float *values = y + (size_t)plane * plane_size;
        for (unsigned int i = segment * SEGMENT + threadIdx.x; i < segment_end(segment, plane_size); i += THREADS) {
            values[i] += shift;
        }
    }
}

// The nearest bfloat16, ties to even; NaN stays NaN.
DEVICE unsigned short to_bf16(float value) {
    const unsigned int bits = __float_as_uint(value);
    if (value != value) {
        return (unsigned short)((bits >> 16) | 0x40u);
    }
    return (unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

DEVICE float from_bf16(unsigned short value) {
    return __uint_as_float((unsigned int)value << 16);
}

// From f32 [N, C, plane] to bf16 [N, plane, C]; the grid is tiles of plane, tiles of channels, images.
//
// A tile of TILE x TILE values goes through shared memory, so that reads and writes both run along memory.
KERNEL channels_last_bf16(const float *x, unsigned int channels, unsigned int plane_size, unsigned short *out) {
    SHARED float tile[TILE][TILE + 1];
    FOR_THREADS {
        const unsigned int column = threadIdx.x % TILE;
        const unsigned int i = blockIdx.x * TILE + column;
        for (unsigned int row = threadIdx.x / TILE; row < TILE; row += TILE_ROWS) {
            const unsigned int channel = blockIdx.y * TILE + row;
            if (i < plane_size && channel < channels) {
                tile[row][column] = x[((size_t)blockIdx.z * channels + channel) * plane_size + i];
            }
        }
    }
    SYNC;
    FOR_THREADS {
        const unsigned int column = threadIdx.x % TILE;
        const unsigned int channel = blockIdx.y * TILE + column;
        for (unsigned int row = threadIdx.x / TILE; row < TILE; row += TILE_ROWS) {
            const unsigned int i = blockIdx.x * TILE + row;
            if (i < plane_size && channel < channels) {
                out[((size_t)blockIdx.z * plane_size + i) * channels + channel] = to_bf16(tile[column][row]);
            }
        }
    }
}

// The way back: from bf16 [N, plane, C] to f32 [N, C, plane], on the same grid.
KERNEL channels_first_f32(const unsigned short *x, unsigned int channels, unsigned int plane_size, float *out) {
    SHARED float tile[TILE][TILE + 1];
    FOR_THREADS {
        const unsigned int column = threadIdx.x % TILE;
        const unsigned int channel = blockIdx.y * TILE + column;
        for (unsigned int row = threadIdx.x / TILE; row < TILE; row += TILE_ROWS) {
            const unsigned int i = blockIdx.x * TILE + row;
            if (i < plane_size && channel < channels) {
                tile[column][row] = from_bf16(x[((size_t)blockIdx.z * plane_size + i) * channels + channel]);
            }
        }
    }
    SYNC;
    FOR_THREADS {
        const unsigned int column = threadIdx.x % TILE;
        const unsigned int i = blockIdx.x * TILE + column;
        for (unsigned int row = threadIdx.x / TILE; row < TILE; row += TILE_ROWS) {
            const unsigned int channel = blockIdx.y * TILE + row;
            if (i < plane_size && channel < channels) {
                out[((size_t)blockIdx.z * channels + channel) * plane_size + i] = tile[row][column];
            }
        }
    }
}

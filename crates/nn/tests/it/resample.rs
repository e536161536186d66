//! Pooling and upsampling over a seeded range of shapes against naive twins, and used twice.

use candle_core::{Device, Result, Tensor, Var};
use synthct_nn::ops::{avg_pool2d, max_pool2d, upsample_bilinear2d, upsample_nearest2d};

use crate::conformance::{Draw, array, check, run};
use crate::naive::{Array, Product, evaluate};
use crate::support::{close, same_bits_on_any_thread_count, values};

/// For each output position of an axis: what it reads, and with which weight.
type Reads = Vec<Vec<(usize, f64)>>;

/// Checks an operation that reads `rows` and `columns` of each plane.
fn check_linear(
    what: &str,
    shape: [usize; 4],
    [rows, columns]: [&Reads; 2],
    op: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<()> {
    let [images, channels, height, width] = shape;
    let output = [images, channels, rows.len(), columns.len()];
    let mut products: Vec<Product<1>> = Vec::new();
    for plane in 0..images * channels {
        for (y, row) in rows.iter().enumerate() {
            for (x, column) in columns.iter().enumerate() {
                for (yy, wy) in row {
                    for (xx, wx) in column {
                        let out = (plane * rows.len() + y) * columns.len() + x;
                        products.push((out, wy * wx, [(plane * height + yy) * width + xx]));
                    }
                }
            }
        }
    }
    let coefficient = array("coefficient", &output)?.values;
    let (out, [gradient]) = evaluate([&array("argument 0", &shape)?], &output, &products, &coefficient);
    let (found, gradients) = run([&shape], |[x]| op(x))?;
    check(what, &found, &out)?;
    check(&format!("gradient of {what}"), &gradients[0], &gradient)?;

    // Used twice, each use adds its share.
    let twice: Vec<f64> = gradient.values.iter().map(|value| 3.0 * value).collect();
    let (_, gradients) = run([&shape], |[x]| (op(x)? * 2.0)? + op(x)?)?;
    check(&format!("gradient of two uses of {what}"), &gradients[0], &Array { values: twice, ..gradient })
}

fn draw_shape(draw: &mut Draw) -> [usize; 4] {
    [draw.from(1..=2), draw.from(1..=3), draw.from(1..=12), draw.from(1..=12)]
}

#[test]
fn upsampling() -> Result<()> {
    let nearest = |input: usize, output: usize| -> Reads {
        (0..output).map(|y| vec![(y * input / output, 1.0)]).collect()
    };
    let linear = |input: usize, output: usize, align: bool| -> Reads {
        let read = |y: usize| {
            let scale = if align {
                (input - 1) as f64 / (output as f64 - 1.0).max(1.0)
            } else {
                input as f64 / output as f64
            };
            let position = if align { y as f64 * scale } else { ((y as f64 + 0.5) * scale - 0.5).max(0.0) };
            let first = (position.floor() as usize).min(input - 1);
            let share = (position - first as f64).min(1.0);
            vec![(first, 1.0 - share), ((first + 1).min(input - 1), share)]
        };
        (0..output).map(read).collect()
    };
    let mut draw = Draw::new(4);
    for idx in 0..60 {
        let shape = draw_shape(&mut draw);
        // Twice the size, and any other.
        let size =
            if idx % 3 == 0 { [2 * shape[2], 2 * shape[3]] } else { [draw.from(1..=25), draw.from(1..=25)] };
        let reads: [Reads; 2] = std::array::from_fn(|axis| nearest(shape[2 + axis], size[axis]));
        let what = format!("nearest {shape:?} to {size:?}");
        check_linear(&what, shape, [&reads[0], &reads[1]], |x| upsample_nearest2d(x, size))?;
        for align in [false, true] {
            let reads: [Reads; 2] = std::array::from_fn(|axis| linear(shape[2 + axis], size[axis], align));
            let what = format!("bilinear {shape:?} to {size:?}, corners aligned: {align}");
            check_linear(&what, shape, [&reads[0], &reads[1]], |x| upsample_bilinear2d(x, size, align))?;
        }
    }
    Ok(())
}

#[test]
fn pooling() -> Result<()> {
    let mut draw = Draw::new(5);
    for _ in 0..60 {
        let shape = draw_shape(&mut draw);
        let kernel = [draw.from(1..=4.min(shape[2])), draw.from(1..=4.min(shape[3]))];
        let stride = [draw.from(1..=4), draw.from(1..=4)];
        let reads: [Reads; 2] = std::array::from_fn(|axis| {
            let count = (shape[2 + axis] - kernel[axis]) / stride[axis] + 1;
            let weight = 1.0 / kernel[axis] as f64;
            (0..count).map(|y| (0..kernel[axis]).map(|u| (y * stride[axis] + u, weight)).collect()).collect()
        });
        let what = format!("average of {shape:?} over {kernel:?} by {stride:?}");
        check_linear(&what, shape, [&reads[0], &reads[1]], |x| avg_pool2d(x, kernel, stride))?;

        // The maximum is the average's window with all weight on one value.
        let what = format!("maximum of {shape:?} over {kernel:?} by {stride:?}");
        let x = array("argument 0", &shape)?;
        let output = [shape[0], shape[1], reads[0].len(), reads[1].len()];
        let coefficient = array("coefficient", &output)?.values;
        let (mut out, mut gradient) = (Array::zeros(&output), Array::zeros(&shape));
        for (idx, out) in out.values.iter_mut().enumerate() {
            let (plane, y) = (idx / output[3] / output[2], idx / output[3] % output[2]);
            let places = reads[0][y].iter().flat_map(|(yy, _)| {
                reads[1][idx % output[3]].iter().map(move |(xx, _)| (plane * shape[2] + yy) * shape[3] + xx)
            });
            let best =
                places.max_by(|a, b| x.values[*a].total_cmp(&x.values[*b])).expect("a window has values");
            *out = x.values[best];
            gradient.values[best] += coefficient[idx];
        }
        let (found, gradients) = run([&shape], |[x]| max_pool2d(x, kernel, stride))?;
        check(&what, &found, &out)?;
        check(&format!("gradient of {what}"), &gradients[0], &gradient)?;
    }
    Ok(())
}

/// As in PyTorch: the first of equal values gets the gradient, and a NaN is seen.
#[test]
fn equal_and_missing_values() -> Result<()> {
    let x = Var::from_tensor(&Tensor::new(&[[[[1.0f32, 1.0], [1.0, 0.0]]]], &Device::Cpu)?)?;
    let gradients = max_pool2d(&x, [2, 2], [2, 2])?.sum_all()?.backward()?;
    let gradient = gradients.get(&x).expect("the input has a gradient").flatten_all()?.to_vec1::<f32>()?;
    assert_eq!(gradient, [1.0, 0.0, 0.0, 0.0]);
    let x = Tensor::new(&[[[[1.0f32, f32::NAN], [f32::INFINITY, 0.0]]]], &Device::Cpu)?;
    assert!(max_pool2d(&x, [2, 2], [2, 2])?.flatten_all()?.to_vec1::<f32>()?[0].is_nan());
    Ok(())
}

#[test]
fn threads_do_not_change_a_bit() {
    same_bits_on_any_thread_count(|| {
        let mut all = Vec::new();
        for op in 0..4 {
            let (out, gradients) = run([&[2, 5, 31, 17]], |[x]| match op {
                0 => avg_pool2d(x, [3, 2], [2, 1]),
                1 => max_pool2d(x, [3, 2], [2, 1]),
                2 => upsample_nearest2d(x, [45, 20]),
                _ => upsample_bilinear2d(x, [45, 20], false),
            })?;
            all.push(out);
            all.extend(gradients);
        }
        Ok(all)
    });
}

#[test]
fn settings_that_mean_nothing_are_errors() -> Result<()> {
    let x = values("x", &[1, 2, 5, 6])?;
    for pool in [avg_pool2d, max_pool2d] {
        assert!(pool(&x, [5, 6], [1, 1]).is_ok());
        for (kernel, stride) in [([6, 1], [1, 1]), ([1, 7], [1, 1]), ([0, 1], [1, 1]), ([1, 1], [1, 0])] {
            assert!(pool(&x, kernel, stride).is_err(), "{kernel:?} {stride:?}");
        }
        assert!(pool(&x.narrow(1, 0, 0)?, [1, 1], [1, 1]).is_err(), "no channel");
    }
    for size in [[0, 3], [3, 0], [usize::MAX, 2]] {
        assert!(upsample_nearest2d(&x, size).is_err(), "{size:?}");
        assert!(upsample_bilinear2d(&x, size, true).is_err(), "{size:?}");
    }
    assert!(upsample_nearest2d(&x.narrow(3, 0, 0)?, [2, 2]).is_err(), "empty");
    let view = x.transpose(2, 3)?;
    close("a view", &max_pool2d(&view, [1, 1], [1, 1])?, &view.contiguous()?, 0.0, 0.0);
    Ok(())
}

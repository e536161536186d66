//! The kernels of `kernels.cu`, compiled as C and run on the CPU, against the engine's CPU kernels.
//!
//! What this cannot show: that the GPU's compiler accepts the text, how its own exponential rounds, and races
//! between threads, of which running the threads in both orders finds the plain ones.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::launch::{Segments, activation_number, definitions, tiles};
use crate::kernels::norm::{
    Activation, ChannelMoments, ChannelScale, Extent, channel_moments, normalize, normalize_gradients,
};
use crate::simd::Level;

const ACTIVATIONS: [Activation; 4] =
    [Activation::Linear, Activation::Elu, Activation::Relu, Activation::Sigmoid];

/// The program that runs the kernels, deleted when it is no longer needed.
struct Emulation(PathBuf);

impl Drop for Emulation {
    fn drop(&mut self) {
        // Nobody minds a file that is left in the build folder.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Emulation {
    /// Compiles it; none if the machine has no C compiler.
    fn new(name: &str, options: &[&str]) -> io::Result<Option<Self>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cuda");
        let program = std::env::current_exe()?.with_file_name(format!("{name}-{}", std::process::id()));
        let compiled = Command::new("cc")
            .args(["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror"])
            .args(definitions())
            .args(options)
            .arg("-o")
            .arg(&program)
            .arg(folder.join("emulation.c"))
            .arg("-lm")
            .output();
        match compiled {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(output) if output.status.success() => Ok(Some(Self(program))),
            Ok(output) => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
        }
    }

    fn run(&self, input: &[u8]) -> io::Result<Vec<u8>> {
        let mut child = Command::new(&self.0).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        // The program reads everything before it writes.
        child.stdin.take().expect("because it is piped").write_all(input)?;
        let output = child.wait_with_output()?;
        if !output.status.success() {
            return Err(io::Error::other(format!("the emulation ended with {}", output.status)));
        }
        Ok(output.stdout)
    }
}

/// Takes arrays off the front of the emulation's output.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const SIZE: usize, T>(&mut self, count: usize, from: impl Fn([u8; SIZE]) -> T) -> Vec<T> {
        let (taken, rest) = self.0.split_at(count * SIZE);
        self.0 = rest;
        taken.as_chunks::<SIZE>().0.iter().map(|bytes| from(*bytes)).collect()
    }

    fn f32(&mut self, count: usize) -> Vec<f32> {
        self.take(count, f32::from_ne_bytes)
    }
}

/// Reproducible values in [−1, 1).
fn values(key: u32, count: usize) -> Vec<f32> {
    (0..count as u32)
        .map(|idx| {
            let mut h = idx.wrapping_mul(2_654_435_761).wrapping_add(key.wrapping_mul(40_503));
            h = (h ^ (h >> 15)).wrapping_mul(2_246_822_519);
            h = (h ^ (h >> 13)).wrapping_mul(3_266_489_917);
            (h ^ (h >> 16)) as f32 / (1u32 << 31) as f32 - 1.0
        })
        .collect()
}

/// Fails if a value differs by more than `tolerance` × the largest expected magnitude, or is NaN.
#[track_caller]
fn close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(f32::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    for (idx, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() <= tolerance * largest,
            "{what}, value {idx}: {found} for {expected} ± {tolerance:e} × {largest}"
        );
    }
}

/// The nearest bfloat16 by looking at both neighbors; ties go to the even one.
fn nearest_bf16(value: f32) -> u16 {
    let below = (value.to_bits() >> 16) as u16;
    let wide = |half: u16| f64::from(f32::from_bits(u32::from(half) << 16));
    let error = |half: u16| (wide(half) - f64::from(value)).abs();
    let above = below + 1;
    if error(above) < error(below) || (error(above) <= error(below) && below % 2 == 1) {
        above
    } else {
        below
    }
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn kernels_agree_with_the_cpu() -> Result<(), Box<dyn std::error::Error>> {
    let forwards = Emulation::new("emulation-forwards", &[])?;
    let backwards = Emulation::new("emulation-backwards", &["-DBACKWARDS"])?;
    let (Some(forwards), Some(backwards)) = (forwards, backwards) else {
        eprintln!("skipped: the emulation of the CUDA kernels, since there is no C compiler `cc`");
        return Ok(());
    };
    // One value, less than a block, one segment and a bit, more channels than a tile, several segments.
    for shape in [[1, 1, 1, 1], [2, 3, 5, 7], [1, 2, 64, 129], [2, 40, 9, 11], [3, 5, 130, 150]] {
        for activation in ACTIVATIONS {
            for (with_dropout, batch_statistics) in [(false, true), (true, true), (true, false)] {
                compare([&forwards, &backwards], shape, activation, with_dropout, batch_statistics)?;
            }
        }
    }
    Ok(())
}

fn compare(
    emulations: [&Emulation; 2],
    shape: [usize; 4],
    activation: Activation,
    with_dropout: bool,
    batch_statistics: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    let case = format!("{shape:?} {activation:?} dropout {with_dropout} batch {batch_statistics}");
    let [images, channels, height, width] = shape;
    let plane = height * width;
    let extent = Extent { images, channels, plane };
    let segments = Segments::new(shape)?;
    let level = Level::Portable;
    // A mean so far from zero that the variance would drown without the pivot.
    let x: Vec<f32> = values(1, segments.values()).into_iter().map(|v| 3.0 * v + 5e4).collect();
    let gradient = values(2, x.len());
    let (gain, bias) = (values(3, channels), values(4, channels));
    let dropout: Vec<f32> = (0..segments.planes())
        .map(|plane| if with_dropout { [1.25, 0.0, 1.25][plane % 3] } else { 1.0 })
        .collect();
    let moments = channel_moments(level, &x, extent);
    let scales: Vec<ChannelScale> = moments
        .iter()
        .zip(gain.iter().zip(&bias))
        .map(|(moments, (&gain, &bias))| ChannelScale {
            mean: moments.mean as f32,
            inverse_sd: (moments.variance + 1e-5).sqrt().recip() as f32,
            gain,
            bias,
        })
        .collect();

    let grid = tiles(images, channels, plane)?;
    let mut input: Vec<u8> = Vec::new();
    for size in [segments.images, segments.channels, segments.plane, segments.per_plane] {
        input.extend(size.to_ne_bytes());
    }
    for size in grid {
        input.extend(size.to_ne_bytes());
    }
    input.extend(activation_number(activation).to_ne_bytes());
    let share = if batch_statistics { segments.channel_values().recip() } else { 0.0 };
    input.extend(share.to_ne_bytes());
    let flat_moments: Vec<f32> = scales.iter().flat_map(|scale| [scale.mean, scale.inverse_sd]).collect();
    for array in [&x, &gradient, &gain, &bias, &flat_moments, &dropout] {
        input.extend(array.iter().flat_map(|value| value.to_ne_bytes()));
    }
    let output = emulations[0].run(&input)?;
    assert!(emulations[1].run(&input)? == output, "{case}: the order of the threads shows in the result");
    let mut output = Reader(&output);

    let pivots = output.f32(channels);
    let sums = output.take(2 * channels, f64::from_ne_bytes);
    for (channel, expected) in moments.iter().enumerate() {
        let sums = [sums[2 * channel], sums[2 * channel + 1]];
        let found = ChannelMoments::from_sums(pivots[channel].into(), sums, segments.channel_values());
        assert!((found.mean - expected.mean).abs() <= 1e-12 * expected.mean.abs(), "{case}: {found:?}");
        assert!(
            (found.variance - expected.variance).abs() <= 1e-10 * expected.variance,
            "{case}: {found:?} for {expected:?}"
        );
    }
    let count = segments.channel_values();
    let plain_sums: Vec<f32> = moments.iter().map(|moments| (moments.mean * count) as f32).collect();
    close(&format!("{case}: sums"), &output.f32(channels), &plain_sums, 1e-6);

    let out = normalize(level, &x, extent, &scales, Some(&dropout), activation);
    close(&format!("{case}: values"), &output.f32(x.len()), &out, 1e-6);
    let gradients = normalize_gradients(
        level,
        &x,
        &out,
        &gradient,
        extent,
        &scales,
        Some(&dropout),
        activation,
        batch_statistics,
    );
    // The sums cancel, so that their error is that of their largest terms.
    close(&format!("{case}: gradient of bias"), &output.f32(channels), &gradients.bias, 2e-6);
    close(&format!("{case}: gradient of gain"), &output.f32(channels), &gradients.gain, 2e-6);
    let found = output.f32(x.len());
    if x.len() == 1 && batch_statistics {
        // The gradient of a single value is zero but for rounding of terms of its inverse deviation's size.
        assert!(found[0].abs() <= 1e-6 * scales[0].inverse_sd, "{case}: {found:?}");
    } else {
        close(&format!("{case}: gradient of x"), &found, &gradients.x, 2e-6);
    }

    let biased: Vec<f32> =
        x.iter().enumerate().map(|(idx, value)| value + bias[idx / plane % channels]).collect();
    assert_eq!(output.f32(x.len()), biased, "{case}: bias");

    let halves: Vec<u16> = (0..x.len())
        .map(|idx| {
            let (image, pixel, channel) = (idx / channels / plane, idx / channels % plane, idx % channels);
            nearest_bf16(x[(image * channels + channel) * plane + pixel])
        })
        .collect();
    assert_eq!(output.take(x.len(), u16::from_ne_bytes), halves, "{case}: channels last");
    let back: Vec<f32> =
        x.iter().map(|value| f32::from_bits(u32::from(nearest_bf16(*value)) << 16)).collect();
    assert_eq!(output.f32(x.len()), back, "{case}: channels first");
    assert!(output.0.is_empty(), "{case}: {} bytes are left", output.0.len());
    Ok(())
}

/// The names of a kernel's parameters, in order.
fn parameters(source: &str, kernel: &str) -> Vec<String> {
    let (_, rest) = source.split_once(&format!("KERNEL {kernel}(")).expect("every launched kernel exists");
    let (list, _) = rest.split_once(')').expect("a parameter list ends");
    list.split(',')
        .map(|parameter| {
            parameter.rsplit([' ', '*']).next().expect("because a split has a last part").to_owned()
        })
        .collect()
}

/// A launch passes untyped pointers, so that no compiler would see two arguments change places.
#[test]
fn launches_pass_the_arguments_that_kernels_declare() {
    let kernels = include_str!("kernels.cu");
    let mut names = Vec::new();
    for launch in include_str!("raw/kernels.rs").split("launch!(").skip(1) {
        let (arguments, _) = launch.split_once(");").expect("a launch ends");
        let mut arguments = arguments.split(',').map(str::trim).filter(|argument| !argument.is_empty());
        let name = arguments.nth(1).expect("a launch names its kernel").trim_matches('"').to_owned();
        // The grid is one argument, or three between brackets.
        let found: Vec<String> = arguments
            .filter(|argument| !argument.starts_with('[') && !argument.ends_with(']') && *argument != "1")
            .filter(|argument| *argument != "blocks")
            .map(|argument| {
                let argument = argument.trim_start_matches("&mut ").trim_start_matches("&i32::from");
                let argument = argument.trim_start_matches('&').trim_matches(['(', ')']);
                let argument = argument.trim_end_matches(" as u32");
                match argument.rsplit('.').next().expect("because a split has a last part") {
                    "plane" => "plane_size",
                    "per_plane" => "segments",
                    "both" => "sums",
                    other => other,
                }
                .to_owned()
            })
            .collect();
        assert_eq!(found, parameters(kernels, &name), "{name}");
        names.push(name);
    }
    assert_eq!(names.len(), kernels.matches("\nKERNEL ").count(), "{names:?}");
}

//! U-Net, discriminator, generator and cascade: PyTorch as an oracle, properties, modes.

use candle_core::{Device, Tensor, Var};
use synthct_nn::{
    Backbone as _, BackboneConfig, Cascade, CascadeConfig, Discriminator, DiscriminatorConfig, Generator,
    Mode, NnError, ParameterStore, Precision, RoiNet, RoiNetConfig, UNet, UNetConfig,
};

use crate::support::{bits, close, flat, golden, golden_weights, same_bits_on_any_thread_count, values};

type Result<T> = std::result::Result<T, NnError>;

/// `provenance.toml` gives the reason.
const TOLERANCE: f32 = 1e-5;
const TRAIN: Mode = Mode::Train { dropout_seed: 3 };

fn store(seed: u64) -> ParameterStore {
    ParameterStore::new(seed, &Device::Cpu)
}

fn small() -> UNetConfig {
    UNetConfig { filters: 3, depth: 2, residual_blocks: 2, dropout: 0.0 }
}

/// Compares a network with the golden values of both modes, all gradients and the running statistics.
fn check_golden(
    name: &str,
    shape: &[usize],
    store: &ParameterStore,
    forward: impl Fn(&Tensor, Mode) -> Result<Tensor>,
) -> Result<()> {
    let golden = golden(name)?;
    store.load_tensors(&golden_weights(store)?)?;
    let x = Var::from_tensor(&values("x", shape)?)?;
    close("eval", &forward(&x, Mode::Evaluate)?, &golden["eval"], TOLERANCE, 0.0);
    let out = forward(&x, TRAIN)?;
    close("train", &out, &golden["train"], TOLERANCE, 0.0);
    let gradients = (&out * values("coefficient", out.dims())?)?.sum_all()?.backward()?;
    let n_gradients = golden.keys().filter(|key| key.starts_with("gradient.")).count();
    assert_eq!(n_gradients, store.trainable().count() + 1);
    let largest = |of: &Tensor| flat(of).map(|v| v.iter().fold(0.0f32, |largest, v| largest.max(v.abs())));
    let mut floor = 0.0f32;
    for (_, tensor) in golden.iter().filter(|(key, _)| key.starts_with("gradient.")) {
        floor = floor.max(largest(tensor)? * TOLERANCE);
    }
    for (name, var) in store.trainable().chain([("x", &x)]) {
        let found = gradients.get(var).expect("every parameter has a gradient");
        close(name, found, &golden[&format!("gradient.{name}")], TOLERANCE, floor);
    }
    for (name, var) in store.buffers() {
        close(name, var, &golden[&format!("buffer.{name}")], TOLERANCE, 0.0);
    }
    Ok(())
}

#[test]
fn the_u_net_equals_pytorch() -> Result<()> {
    let mut store = store(0);
    let net = UNet::new(&small(), [2, 2], "", &mut store)?;
    check_golden("unet", &[2, 2, 19, 22], &store, |x, mode| net.forward(x, mode))
}

#[test]
fn the_discriminator_equals_pytorch() -> Result<()> {
    let mut store = store(0);
    let net = Discriminator::new(&DiscriminatorConfig { filters: 2 }, 2, &mut store)?;
    check_golden("discriminator", &[2, 3, 32, 64], &store, |x, mode| {
        net.forward(&x.narrow(1, 0, 2)?, &x.narrow(1, 2, 1)?, mode)
    })
}

#[test]
fn the_gradient_is_the_slope() -> Result<()> {
    let mut store = store(5);
    let net = UNet::new(&small(), [1, 1], "", &mut store)?;
    let x = values("x", &[2, 1, 12, 9])?;
    let loss = |x: &Tensor| -> Result<Tensor> {
        let out = net.forward(x, TRAIN)?;
        Ok((&out * values("coefficient", out.dims())?)?.sum_all()?)
    };
    let var = Var::from_tensor(&x)?;
    let gradients = loss(&var)?.backward()?;
    let direction = values("direction", x.dims())?;
    let expected =
        (gradients.get(&var).expect("x has a gradient") * &direction)?.sum_all()?.to_scalar::<f32>()?;
    let at = |step: f64| -> Result<f32> { Ok(loss(&(&x + (&direction * step)?)?)?.to_scalar()?) };
    let slope = (at(1e-3)? - at(-1e-3)?) / 2e-3;
    assert!((slope - expected).abs() < 0.02 * expected.abs().max(1.0), "{slope} instead of {expected}");
    Ok(())
}

#[test]
fn upsampling_leaves_no_checkerboard() -> Result<()> {
    // Of an even image nothing but even maps can come, but at the borders, where zeros are padded.
    let mut store = store(7);
    let config = UNetConfig { depth: 2, ..small() };
    let net = UNet::new(&config, [1, 1], "", &mut store)?;
    let out =
        net.forward(&Tensor::ones((1, 1, 96, 96), candle_core::DType::F32, &Device::Cpu)?, Mode::Evaluate)?;
    let inner = flat(&out.narrow(2, 40, 16)?.narrow(3, 40, 16)?)?;
    let (least, largest) = inner.iter().fold((f32::MAX, f32::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
    assert!(largest - least < 1e-5, "from {least} to {largest}");
    // The network as such is not even: its borders differ.
    assert!((flat(&out)?[0] - inner[0]).abs() > 1e-3);
    Ok(())
}

#[test]
fn frozen_networks_pass_gradients_on_and_stay_as_they_are() -> Result<()> {
    let mut store = store(1);
    let net = Discriminator::new(&DiscriminatorConfig { filters: 2 }, 1, &mut store)?;
    let condition = values("condition", &[1, 1, 64, 64])?;
    let image = Var::from_tensor(&values("image", &[1, 1, 64, 64])?)?;
    let before = store.to_tensors()?;
    let frozen = net.forward(&condition, &image, Mode::Frozen)?;
    let gradients = frozen.sqr()?.sum_all()?.backward()?;
    assert!(store.trainable().all(|(_, var)| gradients.get(var).is_none()), "weights have no gradient");
    for (name, tensor) in store.to_tensors()? {
        assert_eq!(bits(&tensor)?, bits(&before[&name])?, "{name}");
    }
    let trained = net.forward(&condition, &image, TRAIN)?;
    assert_eq!(bits(&trained)?, bits(&frozen)?);
    let expected = trained.sqr()?.sum_all()?.backward()?;
    let of = |gradients: &candle_core::backprop::GradStore| bits(gradients.get(&image).expect("a gradient"));
    assert_eq!(of(&gradients)?, of(&expected)?);
    assert_ne!(
        bits(&store.to_tensors()?["discriminator.down1.bn.running_mean"])?,
        bits(&before["discriminator.down1.bn.running_mean"])?
    );
    Ok(())
}

#[test]
fn samples_drop_channels_as_their_seed_says_and_average_out() -> Result<()> {
    let x = values("x", &[1, 1, 16, 16])?;
    let sample = |net: &UNet, dropout_seed| net.forward(&x, Mode::Sample { dropout_seed });
    let without = UNet::new(&small(), [1, 1], "", &mut store(2))?;
    assert_eq!(bits(&sample(&without, 1)?)?, bits(&without.forward(&x, Mode::Evaluate)?)?);
    let with = UNet::new(&UNetConfig { dropout: 0.3, ..small() }, [1, 1], "", &mut store(2))?;
    assert_eq!(bits(&sample(&with, 1)?)?, bits(&sample(&with, 1)?)?);
    assert_ne!(bits(&sample(&with, 1)?)?, bits(&sample(&with, 2)?)?);
    assert!(!sample(&with, 1)?.track_op(), "no graph is kept");

    // The same for the RoI network, which runs fused without dropout and layer by layer with it.
    let config = RoiNetConfig { filters: 4, dropout: 0.0, ..RoiNetConfig::three_task() };
    let net = RoiNet::new(&config, &mut store(2))?;
    let found = net.forward_sample(&x, Precision::F32, 1)?;
    close("without dropout", &found.whole_hu, &net.forward(&x, Precision::F32)?.whole_hu, 1e-5, 0.0);
    let net = RoiNet::new(&RoiNetConfig { dropout: 0.3, ..config }, &mut store(2))?;
    let whole = |seed| bits(&net.forward_sample(&x, Precision::F32, seed)?.whole_hu).map_err(NnError::from);
    assert_eq!(whole(1)?, whole(1)?);
    assert_ne!(whole(1)?, whole(2)?);
    Ok(())
}

#[test]
fn a_generator_and_its_discriminator_have_the_same_bits_on_any_number_of_threads() -> Result<()> {
    let x = values("x", &[2, 3, 64, 48])?;
    same_bits_on_any_thread_count(|| {
        let run = || -> Result<Vec<Tensor>> {
            let mut store = store(4);
            let backbone = BackboneConfig::UNet(UNetConfig { dropout: 0.2, ..small() });
            let generator = Generator::new(&backbone, 3, &mut store)?;
            let discriminator = Discriminator::new(&DiscriminatorConfig { filters: 2 }, 3, &mut store)?;
            let fake = generator.forward(&x, TRAIN)?;
            assert!(flat(&fake)?.iter().all(|value| value.abs() <= 1.0));
            let logits = discriminator.forward(&x, &fake, TRAIN)?;
            assert_eq!(logits.dims(), [2, 1, 2, 1]);
            let gradients = logits.sqr()?.sum_all()?.backward()?;
            let of =
                |(_, var): (&str, &Var)| gradients.get(var).expect("every parameter has a gradient").clone();
            Ok(store.trainable().map(of).chain([logits.clone()]).collect())
        };
        run().map_err(candle_core::Error::wrap)
    });
    Ok(())
}

#[test]
fn the_stages_of_a_cascade_learn_apart() -> Result<()> {
    let backbone =
        BackboneConfig::UNet(UNetConfig { filters: 2, depth: 1, residual_blocks: 0, dropout: 0.0 });
    let config = CascadeConfig { in_channels: 2, segmentation: backbone.clone(), regression: backbone };
    let (cascade, [segmentation, regression]) = Cascade::new(&config, 9, &Device::Cpu)?;
    let x = values("x", &[1, 2, 10, 8])?;
    let output = cascade.forward(&x, TRAIN)?;
    let bone_hu = output.bone_hu.as_ref().expect("a cascade has bone HU");
    let mask = output.bone_mask.as_ref().expect("a cascade has a mask");
    assert_eq!(
        (output.whole_hu.dims(), bone_hu.dims(), mask.dims()),
        ([1, 1, 10, 8].as_slice(), [1, 1, 10, 8].as_slice(), [1, 1, 10, 8].as_slice())
    );
    assert!(flat(mask)?.iter().all(|p| (0.0..=1.0).contains(p)));
    let gradients = (output.whole_hu.sqr()?.sum_all()? + bone_hu.sqr()?.sum_all()?)?.backward()?;
    assert!(segmentation.trainable().all(|(_, var)| gradients.get(var).is_none()));
    assert!(regression.trainable().all(|(_, var)| gradients.get(var).is_some()));
    let gradients = cascade.segment(&x, TRAIN)?.sum_all()?.backward()?;
    assert!(segmentation.trainable().all(|(_, var)| gradients.get(var).is_some()));
    Ok(())
}

#[test]
fn images_and_settings_that_do_not_fit_are_refused() -> Result<()> {
    let bad = UNetConfig { filters: 0, depth: 9, residual_blocks: 0, dropout: 1.0 };
    let error = UNet::new(&bad, [1, 1], "", &mut store(0)).err().expect("three fields are bad").to_string();
    assert!(["filters", "depth", "dropout"].iter().all(|field| error.contains(field)), "{error}");
    let net = UNet::new(&small(), [1, 1], "", &mut store(0))?;
    for shape in [[1, 2, 8, 8], [1, 1, 3, 8], [1, 1, 8, 3]] {
        let refused = net.forward(&values("x", &shape)?, Mode::Evaluate);
        assert!(matches!(refused, Err(NnError::Input { .. } | NnError::SmallImage { .. })), "{shape:?}");
    }
    let single = net.forward(&values("x", &[1, 1, 4, 4])?, TRAIN);
    assert!(matches!(single, Err(NnError::SinglePixelBatch { .. })));
    Ok(())
}

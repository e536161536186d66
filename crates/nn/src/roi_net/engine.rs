//! The whole network as one operation on the CPU: every block on pooled planes, forward and backward.

mod plan;

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Tensor};

pub(super) use plan::Plan;

use crate::fused::block::{self, BlockTape, forward_evaluate, forward_train};
use crate::fused::features::Features;
use crate::fused::format::Format;
use crate::fused::gradient::{InputGradient, backward};
use crate::fused::head::{self, HeadTape};
use crate::fused::rows::Context;
use crate::kernels::canvas::{Canvas, Layout as Places};
use crate::kernels::norm::ChannelMoments;
use crate::ops::tensor::{image_shape, slice, with_slices};

/// Factors of spatial dropout of each block, `[N, 2f]`; none where nothing is dropped.
pub(super) type Dropout = Vec<Option<Vec<f32>>>;

/// What training found out about the batch: for each block and each head the moments of its channels.
pub(super) struct BatchMoments {
    pub(super) blocks: Vec<Vec<ChannelMoments>>,
    pub(super) heads: Vec<ChannelMoments>,
}

/// Runs the network in training; returns the heads' outputs `[heads · N, 1, H, W]`, which can be differentiated.
///
/// `parameters` are all parameters one after the other, as [`Plan`] orders them.
pub(super) fn train<F: Format>(
    plan: &Arc<Plan>,
    context: &Context,
    x: &Tensor,
    parameters: &Tensor,
    dropout: Dropout,
    epsilon: f64,
) -> Result<(Tensor, BatchMoments)> {
    let tape = Arc::new(OnceLock::new());
    let op = TrainOp::<F> {
        plan: Arc::clone(plan),
        context: context.clone(),
        dropout,
        epsilon,
        tape: Arc::clone(&tape),
    };
    let outputs = x.contiguous()?.apply_op2(parameters, op)?;
    let tape = tape.get().expect("because the way forward leaves its tape");
    let moments = BatchMoments {
        blocks: tape.blocks.iter().map(|block| block.moments.clone()).collect(),
        heads: tape.heads.iter().map(|head| head.moments).collect(),
    };
    Ok((outputs, moments))
}

/// Runs the network in evaluation, image by image; returns the heads' outputs, each `[N, 1, H, W]`.
///
/// `moments` are the running statistics.
pub(super) fn evaluate<F: Format>(
    plan: &Plan,
    context: &Context,
    x: &Tensor,
    parameters: &Tensor,
    moments: &BatchMoments,
    epsilon: f64,
) -> Result<Vec<Tensor>> {
    let x = x.contiguous()?;
    let [images, channels, height, width] = image_shape("three-task network", x.layout())?;
    let size = [height, width];
    let mut outputs = vec![Vec::with_capacity(images * height * width); plan.heads.len()];
    with_slices([&x, parameters], |[x, parameters]| {
        let scales: Vec<_> = plan
            .blocks
            .iter()
            .zip(&moments.blocks)
            .map(|(step, moments)| {
                let weights = step.parameters.weights(parameters);
                block::scales(moments, weights.gain, weights.bias, epsilon)
            })
            .collect();
        for image in x.chunks_exact(channels * height * width) {
            let mut buffers = plan.buffers::<F>(context, 1, size, false);
            load(context, &mut buffers, image);
            for (step, scales) in plan.blocks.iter().zip(&scales) {
                let mut output = take(&mut buffers, step.to);
                forward_evaluate(
                    context,
                    step.shape,
                    &step.parameters.weights(parameters),
                    scales,
                    features(&buffers, step.from),
                    step.from_parts.clone(),
                    &mut output,
                    step.to_part,
                );
                buffers[step.to] = Some(output);
            }
            for (idx, head) in plan.heads.iter().enumerate() {
                let weights = head.weights(parameters);
                let scale = block::scales(&[moments.heads[idx]], weights.gain, weights.bias, epsilon)[0];
                let input = features(&buffers, head.from);
                outputs[idx].extend(head::forward_evaluate(context, &weights, scale, head.activation, input));
            }
        }
        Ok(())
    })?;
    outputs
        .into_iter()
        .map(|output| Tensor::from_vec(output, (images, 1, height, width), &Device::Cpu))
        .collect()
}

type Buffers<F> = Vec<Option<Features<F>>>;

fn take<F: Format>(buffers: &mut Buffers<F>, idx: usize) -> Features<F> {
    buffers[idx].take().expect("because no block writes what it reads")
}

fn features<F: Format>(buffers: &Buffers<F>, idx: usize) -> &Features<F> {
    buffers[idx].as_ref().expect("because no block writes what it reads")
}

/// Stores images `[N, C, H, W]` as the network's input.
fn load<F: Format>(context: &Context, buffers: &mut Buffers<F>, images: &[f32]) {
    let mut input = take(buffers, 0);
    input.fill(context.level, 0, images);
    buffers[0] = Some(input);
}

/// What the way back needs.
struct Tape<F: Format> {
    buffers: Buffers<F>,
    blocks: Vec<BlockTape<F>>,
    heads: Vec<HeadTape>,
}

struct TrainOp<F: Format> {
    plan: Arc<Plan>,
    context: Context,
    dropout: Dropout,
    epsilon: f64,
    tape: Arc<OnceLock<Tape<F>>>,
}

impl<F: Format> CustomOp2 for TrainOp<F> {
    fn name(&self) -> &'static str {
        "three-task-network"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let Self { plan, context, epsilon, .. } = self;
        let (x, parameters) = (slice(s1, l1)?, slice(s2, l2)?);
        let [images, _, height, width] = image_shape("three-task network", l1)?;
        let mut buffers = plan.buffers::<F>(context, images, [height, width], true);
        load(context, &mut buffers, x);
        let mut blocks = Vec::with_capacity(plan.blocks.len());
        for (step, dropout) in plan.blocks.iter().zip(&self.dropout) {
            let mut output = take(&mut buffers, step.to);
            blocks.push(forward_train(
                context,
                step.shape,
                &step.parameters.weights(parameters),
                features(&buffers, step.from),
                step.from_parts.clone(),
                dropout.as_deref(),
                *epsilon,
                &mut output,
                step.to_part,
            ));
            buffers[step.to] = Some(output);
        }
        let mut outputs = Vec::with_capacity(plan.heads.len() * images * height * width);
        let mut heads = Vec::with_capacity(plan.heads.len());
        for head in &plan.heads {
            let input = features(&buffers, head.from);
            let weights = head.weights(parameters);
            let (output, tape) = head::forward_train(context, &weights, head.activation, *epsilon, input);
            outputs.extend(output);
            heads.push(tape);
        }
        self.tape.get_or_init(|| Tape { buffers, blocks, heads });
        Ok((CpuStorage::F32(outputs), Shape::from((plan.heads.len() * images, 1, height, width))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        parameters: &Tensor,
        res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let tape = self.tape.get().expect("because the way forward leaves its tape");
        let grad = grad.contiguous()?;
        with_slices([parameters, res, &grad], |[parameters, outputs, gradient]| {
            let (x_gradient, parameter_gradient) =
                self.backward(tape, parameters, outputs, gradient, x.track_op());
            let x_gradient = x_gradient.map(|values| Tensor::from_vec(values, x.shape(), &Device::Cpu));
            Ok((
                x_gradient.transpose()?,
                Some(Tensor::from_vec(parameter_gradient, parameters.len(), &Device::Cpu)?),
            ))
        })
    }
}

impl<F: Format> TrainOp<F> {
    fn backward(
        &self,
        tape: &Tape<F>,
        parameters: &[f32],
        outputs: &[f32],
        gradient: &[f32],
        needs_input_gradient: bool,
    ) -> (Option<Vec<f32>>, Vec<f32>) {
        let Self { plan, context, .. } = self;
        let input_layout = features(&tape.buffers, 0).layout();
        let (images, size) = (input_layout.images, input_layout.size());
        let output_len = images * size[0] * size[1];
        let mut result = vec![0.0f32; parameters.len()];
        // The gradients of the buffers, dense; made by their first writer, which writes all channels.
        let mut gradients: Vec<Option<Canvas<f32>>> = Vec::new();
        gradients.resize_with(tape.buffers.len(), || None);
        for (idx, head) in plan.heads.iter().enumerate() {
            let range = idx * output_len..(idx + 1) * output_len;
            let (head_gradients, canvas) = head::backward(
                context,
                &head.weights(parameters),
                head.activation,
                &tape.heads[idx],
                features(&tape.buffers, head.from),
                &outputs[range.clone()],
                &gradient[range],
            );
            head.put_gradients(&mut result, &head_gradients);
            gradients[head.from] = Some(canvas);
        }
        for (step, (tape_block, dropout)) in
            plan.blocks.iter().zip(tape.blocks.iter().zip(&self.dropout)).rev()
        {
            let input = features(&tape.buffers, step.from);
            let output = features(&tape.buffers, step.to);
            let first = output.channels(0..step.to_part);
            let output_planes = first..first + step.shape.filters;
            let input_first = input.channels(0..step.from_parts.start);
            let input_planes = input_first..input_first + input.channels(step.from_parts.clone());
            let wants_input = step.from != 0 || needs_input_gradient;
            let mut source = gradients[step.from].take();
            let adds = source.is_some();
            if source.is_none() && wants_input {
                let channels = input_planes.end;
                source = Some(Canvas::new(&context.pool, Places::dense(images, channels, size)));
            }
            let input_gradient = source.as_mut().filter(|_| wants_input).map(|canvas| InputGradient {
                canvas,
                planes: input_planes,
                adds,
            });
            let gradient =
                gradients[step.to].as_ref().expect("because what reads a block is differentiated first");
            let block_gradients = backward(
                context,
                step.shape,
                &step.parameters.weights(parameters),
                tape_block,
                input,
                step.from_parts.clone(),
                dropout.as_deref(),
                &gradient.view(output_planes),
                input_gradient,
            );
            step.parameters.put_gradients(&mut result, &block_gradients);
            gradients[step.from] = source;
        }
        let x_gradient = gradients[0].as_ref().map(|canvas| canvas.dense_values().to_vec());
        (x_gradient, result)
    }
}

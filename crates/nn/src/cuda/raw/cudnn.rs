//! cuDNN's convolution and its two gradients, each with the algorithm that cuDNN thinks fastest.
//!
//! Two of its suggestions are not followed: algorithms that add up in no fixed order, which would give other bits in
//! each run, and workspaces beyond [`MAX_WORKSPACE`].

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use candle_core::Result;
use candle_core::cuda_backend::cudarc::cudnn::sys::{
    cudnnConvolutionBwdDataAlgo_t as InputAlgorithm, cudnnConvolutionBwdFilterAlgo_t as WeightAlgorithm,
    cudnnConvolutionFwdAlgo_t as ForwardAlgorithm, cudnnConvolutionMode_t, cudnnDataType_t, cudnnMathType_t,
    cudnnTensorFormat_t,
};
use candle_core::cuda_backend::cudarc::cudnn::{
    ConvBackwardData, ConvBackwardFilter, ConvDescriptor, ConvForward, Cudnn, CudnnDataType,
    FilterDescriptor, TensorDescriptor,
};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, DeviceRepr};
use candle_core::cuda_backend::{CudaDevice, DeviceId};

use super::{check_lengths, uninitialized};
use crate::cuda::geometry::{ConvGeometry, PlanKey, c_ints};
use crate::ops::CudaMath;

/// The largest workspace in bytes that an algorithm may ask for.
const MAX_WORKSPACE: usize = 1 << 30;

/// A bfloat16 in device memory: the upper half of an `f32`.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(in crate::cuda) struct Bf16(u16);

// SAFETY: it is a `u16` in memory, any value of which is one.
unsafe impl DeviceRepr for Bf16 {}

/// A type that cuDNN convolves.
pub(in crate::cuda) trait Element: CudnnDataType + DeviceRepr + Copy {
    /// 1 and 0, which cuDNN multiplies the new and the old values of a result by.
    const ONE_ZERO: (Self, Self);
    /// The order in memory.
    const FORMAT: cudnnTensorFormat_t;
}

impl Element for f32 {
    const ONE_ZERO: (Self, Self) = (1.0, 0.0);
    const FORMAT: cudnnTensorFormat_t = cudnnTensorFormat_t::CUDNN_TENSOR_NCHW;
}

impl Element for Bf16 {
    const ONE_ZERO: (Self, Self) = (Self(0x3f80), Self(0));
    const FORMAT: cudnnTensorFormat_t = cudnnTensorFormat_t::CUDNN_TENSOR_NHWC;
}

impl CudnnDataType for Bf16 {
    const DATA_TYPE: cudnnDataType_t = cudnnDataType_t::CUDNN_DATA_BFLOAT16;
    type Scalar = f32;

    fn into_scaling_parameter(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }
}

/// An algorithm and the bytes it needs beside its arguments.
#[derive(Clone, Copy)]
struct Plan<A> {
    algorithm: A,
    workspace: usize,
}

type Plans<A> = HashMap<PlanKey, Plan<A>>;

/// cuDNN on one device, with all it has found out.
struct Engine {
    handle: Arc<Cudnn>,
    forward: Plans<ForwardAlgorithm>,
    input: Plans<InputAlgorithm>,
    weight: Plans<WeightAlgorithm>,
    /// Shared by all calls, which run one after the other; as long as the longest so far.
    workspace: Option<CudaSlice<u8>>,
}

thread_local! {
    /// One for each device; a handle may only be used by the thread that made it.
    static ENGINES: RefCell<HashMap<DeviceId, Engine>> = RefCell::default();
}

/// Runs `f` with the engine of a device.
fn with_engine<T>(device: &CudaDevice, f: impl FnOnce(&mut Engine) -> Result<T>) -> Result<T> {
    ENGINES.with_borrow_mut(|engines| {
        let engine = match engines.entry(device.id()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Engine {
                handle: Cudnn::new(device.cuda_stream())?,
                forward: HashMap::new(),
                input: HashMap::new(),
                weight: HashMap::new(),
                workspace: None,
            }),
        };
        f(engine)
    })
}

/// The plan of a key, made when it is first asked for: cuDNN's `choice`, or `otherwise` if that adds up in no fixed
/// order or wants too much workspace.
fn plan<A: Copy>(
    plans: &mut Plans<A>,
    key: PlanKey,
    repeatable: impl Fn(A) -> bool,
    choice: impl FnOnce() -> Result<A>,
    otherwise: A,
    workspace: impl Fn(A) -> Result<usize>,
) -> Result<Plan<A>> {
    if let Some(plan) = plans.get(&key) {
        return Ok(*plan);
    }
    let mut algorithm = choice()?;
    if !repeatable(algorithm) {
        algorithm = otherwise;
    }
    let mut bytes = workspace(algorithm)?;
    if bytes > MAX_WORKSPACE {
        algorithm = otherwise;
        bytes = workspace(algorithm)?;
    }
    let plan = Plan { algorithm, workspace: bytes };
    plans.insert(key, plan);
    Ok(plan)
}

/// Memory of at least this length, made longer where it must be.
fn grown<'a>(
    workspace: &'a mut Option<CudaSlice<u8>>,
    device: &CudaDevice,
    bytes: usize,
) -> Result<Option<&'a mut CudaSlice<u8>>> {
    if bytes == 0 {
        return Ok(None);
    }
    if workspace.as_ref().is_none_or(|workspace| workspace.len() < bytes) {
        // The old one first: the two need not fit at once.
        *workspace = None;
        *workspace = Some(device.alloc_zeros(bytes)?);
    }
    Ok(workspace.as_mut())
}

/// What cuDNN knows of a convolution.
struct Descriptors<T: Element> {
    conv: ConvDescriptor<f32>,
    x: TensorDescriptor<T>,
    weight: FilterDescriptor<T>,
    y: TensorDescriptor<T>,
}

impl<T: Element> Descriptors<T> {
    fn new(handle: &Arc<Cudnn>, key: &PlanKey) -> Result<Self> {
        let PlanKey { geometry, math } = *key;
        let mut conv = handle.create_conv2d::<f32>(
            c_ints(geometry.padding)?,
            c_ints(geometry.stride)?,
            c_ints(geometry.dilation)?,
            cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION,
        )?;
        conv.set_math_type(match math {
            CudaMath::Full => cudnnMathType_t::CUDNN_FMA_MATH,
            // The default may round to TF32.
            CudaMath::Tf32 => cudnnMathType_t::CUDNN_DEFAULT_MATH,
            CudaMath::Bf16 => cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
        })?;
        Ok(Self {
            conv,
            x: handle.create_4d_tensor(T::FORMAT, c_ints(geometry.input)?)?,
            weight: handle.create_4d_filter(T::FORMAT, c_ints(geometry.weight)?)?,
            y: handle.create_4d_tensor(T::FORMAT, c_ints(geometry.output()?)?)?,
        })
    }
}

/// Values in x, weight and y.
fn lengths(geometry: &ConvGeometry) -> Result<[usize; 3]> {
    Ok([geometry.input, geometry.weight, geometry.output()?].map(|shape| shape.iter().product()))
}

/// y from x and weight.
pub(in crate::cuda) fn forward<T: Element>(
    device: &CudaDevice,
    key: PlanKey,
    x: &CudaView<T>,
    weight: &CudaView<T>,
) -> Result<CudaSlice<T>> {
    let [x_length, weight_length, y_length] = lengths(&key.geometry)?;
    check_lengths("conv2d", &[(x.len(), x_length), (weight.len(), weight_length)])?;
    let mut y = uninitialized::<T>(device, y_length)?;
    with_engine(device, |engine| {
        let descriptors = Descriptors::<T>::new(&engine.handle, &key)?;
        let conv = ConvForward {
            conv: &descriptors.conv,
            x: &descriptors.x,
            w: &descriptors.weight,
            y: &descriptors.y,
        };
        let plan = plan(
            &mut engine.forward,
            key,
            |_| true,
            || Ok(conv.pick_algorithm()?),
            ForwardAlgorithm::CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM,
            |algorithm| Ok(conv.get_workspace_size(algorithm)?),
        )?;
        let workspace = grown(&mut engine.workspace, device, plan.workspace)?;
        // SAFETY: the lengths are those of the descriptors, which are of type T (rule 1).
        unsafe { conv.launch(plan.algorithm, workspace, T::ONE_ZERO, x, weight, &mut y) }?;
        Ok(())
    })?;
    Ok(y)
}

/// The gradient of x from weight and y's gradient; also the transposed convolution of y.
pub(in crate::cuda) fn input_gradient<T: Element>(
    device: &CudaDevice,
    key: PlanKey,
    weight: &CudaView<T>,
    gradient: &CudaView<T>,
) -> Result<CudaSlice<T>> {
    let [x_length, weight_length, y_length] = lengths(&key.geometry)?;
    check_lengths("conv2d", &[(weight.len(), weight_length), (gradient.len(), y_length)])?;
    let mut gradient_x = uninitialized::<T>(device, x_length)?;
    with_engine(device, |engine| {
        let descriptors = Descriptors::<T>::new(&engine.handle, &key)?;
        let conv = ConvBackwardData {
            conv: &descriptors.conv,
            dx: &descriptors.x,
            w: &descriptors.weight,
            dy: &descriptors.y,
        };
        let plan = plan(
            &mut engine.input,
            key,
            |algorithm| algorithm != InputAlgorithm::CUDNN_CONVOLUTION_BWD_DATA_ALGO_0,
            || Ok(conv.pick_algorithm()?),
            InputAlgorithm::CUDNN_CONVOLUTION_BWD_DATA_ALGO_1,
            |algorithm| Ok(conv.get_workspace_size(algorithm)?),
        )?;
        let workspace = grown(&mut engine.workspace, device, plan.workspace)?;
        // SAFETY: the lengths are those of the descriptors, which are of type T (rule 1).
        unsafe { conv.launch(plan.algorithm, workspace, T::ONE_ZERO, &mut gradient_x, weight, gradient) }?;
        Ok(())
    })?;
    Ok(gradient_x)
}

/// The gradient of the weight from x and y's gradient.
pub(in crate::cuda) fn weight_gradient<T: Element>(
    device: &CudaDevice,
    key: PlanKey,
    x: &CudaView<T>,
    gradient: &CudaView<T>,
) -> Result<CudaSlice<T>> {
    let [x_length, weight_length, y_length] = lengths(&key.geometry)?;
    check_lengths("conv2d", &[(x.len(), x_length), (gradient.len(), y_length)])?;
    let mut gradient_weight = uninitialized::<T>(device, weight_length)?;
    with_engine(device, |engine| {
        let descriptors = Descriptors::<T>::new(&engine.handle, &key)?;
        let conv = ConvBackwardFilter {
            conv: &descriptors.conv,
            x: &descriptors.x,
            dw: &descriptors.weight,
            dy: &descriptors.y,
        };
        let plan = plan(
            &mut engine.weight,
            key,
            |algorithm| {
                !matches!(
                    algorithm,
                    WeightAlgorithm::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0
                        | WeightAlgorithm::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3
                )
            },
            || Ok(conv.pick_algorithm()?),
            WeightAlgorithm::CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1,
            |algorithm| Ok(conv.get_workspace_size(algorithm)?),
        )?;
        let workspace = grown(&mut engine.workspace, device, plan.workspace)?;
        // SAFETY: the lengths are those of the descriptors, which are of type T (rule 1).
        unsafe { conv.launch(plan.algorithm, workspace, T::ONE_ZERO, x, &mut gradient_weight, gradient) }?;
        Ok(())
    })?;
    Ok(gradient_weight)
}

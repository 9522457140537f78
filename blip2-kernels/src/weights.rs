//! How a model asks for its weights.
//!
//! A model never opens a file. It is built against [`Weights`], a cursor into a tree of named
//! tensors, and asks for each tensor by its Hugging Face name and shape. What answers is a
//! [`WeightSource`]: a checkpoint on disk, a random initialiser, or a mere plan that counts. The
//! source owns number formats, sharding and mapping, and keeps the account of what was missing or
//! misshapen, so that a model's constructor reads like the list of its parts and all faults of a
//! checkpoint are reported together.

use burn::{
    module::{Param, ParamId},
    tensor::{DType, Device, Shape, Tensor, TensorData},
};

use crate::{Embedding, LayerNorm, Linear, LowRank, Matrix, PackedMatrix, Precision, RmsNorm};

/// What a tensor is for, which decides the format it is held in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// The matrix of a linear layer, `[out, in]`; held in the asked [`Precision`].
    Matrix,
    /// The matrix of an output head, or a table that is one too, `[vocabulary, in]`; held in the
    /// asked [`Precision`], but see [`Precision::for_head`].
    Head,
    /// A table of vectors that are looked up by row; held in the asked [`Precision`].
    Embedding,
    /// A matrix or table that is computed with directly (query tokens, positions); held in `f32`.
    Dense,
    /// Biases and norm offsets; held in `f32`.
    Bias,
    /// Norm scales; held in `f32`.
    Scale,
}

impl Role {
    /// Whether the tensor is held in the asked precision rather than always in `f32`.
    pub fn follows_precision(self) -> bool {
        matches!(self, Self::Matrix | Self::Head | Self::Embedding)
    }
}

/// One tensor that a model asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorRequest<'a> {
    /// The full Hugging Face name, for example `vision_model.post_layernorm.weight`.
    pub name: &'a str,
    /// The shape that the configuration demands.
    pub shape: &'a [usize],
    /// What the tensor is for.
    pub role: Role,
    /// The precision for roles that follow it.
    pub precision: Precision,
    /// The device that will hold the tensor.
    pub device: &'a Device,
    /// Whether the tensor will be packed, and so wants to be as exact as it is stored.
    pub packs: bool,
}

impl TensorRequest<'_> {
    /// The format in which a source that stores the tensor as `stored` should give it.
    pub fn storage(&self, stored: DType) -> DType {
        if !self.role.follows_precision() {
            DType::F32
        } else if self.packs {
            Precision::AsStored.storage(stored, self.device)
        } else {
            self.precision.storage(stored, self.device)
        }
    }
}

/// Answers a model's requests for tensors: a checkpoint, a random initialiser, a mere plan.
///
/// A model never opens a file; it asks a [`Weights`] cursor for each tensor by its Hugging Face name
/// and shape, and the source behind it owns number formats, sharding and mapping, and keeps the
/// account of what was missing or misshapen, so that all faults of a checkpoint are reported
/// together.
pub trait WeightSource {
    /// The tensor's data in the format it is to be held in, of exactly the asked shape.
    ///
    /// `None` says that there is no such tensor, or none that fits; the source has noted why, and
    /// whoever made the source must ask it for that account before the model is used.
    fn tensor(&self, request: &TensorRequest<'_>) -> Option<TensorData>;

    /// The matrix ready for the kernels, where the source holds it so: a file of packed matrices.
    ///
    /// Asked before [`tensor`](Self::tensor), for matrices that kernels will multiply. The format
    /// is the source's choice.
    fn packed(&self, request: &TensorRequest<'_>) -> Option<PackedMatrix> {
        let _ = request;
        None
    }

    /// Hears which parameter a tensor became: what trains a model knows its parameters by that.
    fn made(&self, request: &TensorRequest<'_>, id: ParamId) {
        let _ = (request, id);
    }

    /// Whether the tensor of this name will be trained, and so is wanted as a tensor of `f32`.
    fn trains(&self, name: &str) -> bool {
        let _ = name;
        false
    }

    /// What is to be added to the linear layer whose matrix is asked for, without changing it.
    fn low_rank(&self, request: &TensorRequest<'_>) -> Option<LowRankData> {
        let _ = request;
        None
    }

    /// Hears that the data of a tensor has been packed and will not be read again, so that pages of
    /// a mapped file can be given back: the model would else be in memory twice.
    fn release(&self, request: &TensorRequest<'_>) {
        let _ = request;
    }

    /// Whether a tensor of this name exists. Lets a model follow a checkpoint that stores an
    /// optional part (an untied head, a fused bias) without that counting as a fault.
    fn contains(&self, name: &str) -> bool;
}

/// The numbers of a [`LowRank`] adapter.
#[derive(Debug, Clone)]
pub struct LowRankData {
    /// `[rank, in]`
    pub a: TensorData,
    /// `[out, rank]`
    pub b: TensorData,
    /// What their product is multiplied by.
    pub scale: f64,
    /// The part of the input's numbers that is left out while gradients are recorded.
    pub dropout: f64,
}

/// A cursor into a source of weights: a prefix, a device and a precision.
#[derive(Clone)]
pub struct Weights<'a> {
    source: &'a dyn WeightSource,
    prefix: String,
    device: &'a Device,
    precision: Precision,
}

impl<'a> Weights<'a> {
    /// A cursor at the root of `source`; what is asked for will be held on `device`.
    pub fn new(source: &'a dyn WeightSource, device: &'a Device) -> Self {
        Self {
            source,
            prefix: String::new(),
            device,
            precision: Precision::default(),
        }
    }

    /// The cursor one level down: `weights.at("encoder").at("layers.0")`.
    #[must_use]
    pub fn at(&self, name: &str) -> Self {
        Self {
            prefix: self.name(name),
            ..self.clone()
        }
    }

    /// The cursor with another precision for the matrices below it.
    #[must_use]
    pub fn with_precision(&self, precision: Precision) -> Self {
        Self {
            precision,
            ..self.clone()
        }
    }

    /// The device that holds what this cursor is asked for.
    pub fn device(&self) -> &'a Device {
        self.device
    }

    /// The full name of a tensor below this cursor.
    pub fn name(&self, name: &str) -> String {
        if self.prefix.is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", self.prefix)
        }
    }

    /// Whether the source has a tensor of this name below the cursor.
    pub fn contains(&self, name: &str) -> bool {
        self.source.contains(&self.name(name))
    }

    /// A parameter of shape `shape`.
    ///
    /// Where the source has none, the parameter is left uninitialised, which costs no memory; the
    /// source has noted the fault.
    pub fn param<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        role: Role,
    ) -> Param<Tensor<D>> {
        self.param_as(name, &shape, shape, role)
    }

    /// A parameter that the checkpoint stores as `stored` and the model holds as `held`, with the
    /// same elements in the same order: the kernel of a patch convolution held as a matrix.
    pub fn param_as<const D: usize>(
        &self,
        name: &str,
        stored: &[usize],
        held: [usize; D],
        role: Role,
    ) -> Param<Tensor<D>> {
        debug_assert_eq!(
            stored.iter().product::<usize>(),
            held.iter().product::<usize>()
        );
        let request = TensorRequest {
            name: &self.name(name),
            shape: stored,
            role,
            precision: self.precision,
            device: self.device,
            packs: false,
        };
        match self.source.tensor(&request) {
            Some(data) => {
                let dtype = data.dtype();
                let (bytes, _, _) = data.into_parts();
                let data = TensorData::from_bytes(bytes, held, dtype);
                let tensor = Tensor::from_data(data, (self.device, dtype));
                let id = ParamId::new();
                self.source.made(&request, id);
                Param::initialized(id, tensor)
            }
            None => self.uninitialized(held),
        }
    }

    fn uninitialized<const D: usize>(&self, shape: [usize; D]) -> Param<Tensor<D>> {
        Param::uninitialized(
            ParamId::new(),
            move |device, _| Tensor::zeros(shape, device),
            self.device.clone(),
            false,
            Shape::from(shape),
        )
    }

    /// The matrix `name` `[outputs, inputs]`: packed where there are kernels for it, else a tensor.
    pub fn matrix(&self, name: &str, outputs: usize, inputs: usize) -> Matrix {
        self.matrix_as(name, outputs, inputs, Role::Matrix)
    }

    fn matrix_as(&self, name: &str, outputs: usize, inputs: usize, role: Role) -> Matrix {
        let shape = [outputs, inputs];
        if self.source.trains(&self.name(name)) {
            // Trained in full precision, whatever the others are held in.
            return Matrix::dense(self.with_precision(Precision::F32).param(name, shape, role));
        }
        let packs = packs(self.device);
        let integers = matches!(self.precision, Precision::Int8 | Precision::Int4);
        if !packs && !integers {
            return Matrix::dense(self.param(name, shape, role));
        }
        let request = TensorRequest {
            name: &self.name(name),
            shape: &shape,
            role,
            precision: self.precision,
            device: self.device,
            packs: true,
        };
        match packed_matrix(self.source, &request) {
            Some(packed) if packs => Matrix::packed(packed),
            Some(packed) => {
                let weight = Matrix::packed(packed).to_tensor(self.device);
                Matrix::dense(Param::from_tensor(weight))
            }
            None => Matrix::dense(self.uninitialized(shape)),
        }
    }

    /// The linear layer `name`: `name.weight` `[out, in]` and, if asked, `name.bias` `[out]`.
    pub fn linear(&self, name: &str, d_input: usize, d_output: usize, bias: bool) -> Linear {
        let at = self.at(name);
        at.adapted(Linear::new(
            at.matrix("weight", d_output, d_input),
            bias.then(|| at.param("bias", [d_output], Role::Bias)),
        ))
    }

    /// A layer of one's own making, whose name the cursor has: with its adapter, if the source has
    /// one for it.
    pub fn adapted(&self, linear: Linear) -> Linear {
        match self.low_rank(linear.d_input(), linear.d_output()) {
            Some(adapter) => linear.with_low_rank(adapter),
            None => linear,
        }
    }

    /// The adapter of the layer at this cursor, if the source has one.
    fn low_rank(&self, inputs: usize, outputs: usize) -> Option<LowRank> {
        let (name, shape) = (self.name("weight"), [outputs, inputs]);
        let data = self.source.low_rank(&self.exactly(&name, &shape))?;
        let param = |name: &str, data: TensorData| {
            let (name, shape) = (self.name(name), data.shape().to_vec());
            let id = ParamId::new();
            self.source.made(&self.exactly(&name, &shape), id);
            Param::initialized(id, Tensor::from_data(data, (self.device, DType::F32)))
        };
        let a = param("lora_A.weight", data.a);
        let b = param("lora_B.weight", data.b);
        Some(LowRank::new(a, b, data.scale, data.dropout))
    }

    /// A request of a tensor in `f32`.
    fn exactly<'r>(&'r self, name: &'r str, shape: &'r [usize]) -> TensorRequest<'r> {
        TensorRequest {
            name,
            shape,
            role: Role::Dense,
            precision: Precision::F32,
            device: self.device,
            packs: false,
        }
    }

    /// As [`linear`](Self::linear), held as a tensor of `f32` whatever the precision and the device,
    /// for [`Linear::forward_exact`].
    pub fn dense_linear(&self, name: &str, d_input: usize, d_output: usize, bias: bool) -> Linear {
        let at = self.at(name);
        at.adapted(Linear::new(
            Matrix::dense(at.param("weight", [d_output, d_input], Role::Dense)),
            bias.then(|| at.param("bias", [d_output], Role::Bias)),
        ))
    }

    /// As [`linear`](Self::linear), for the output head of a language model, which may be held in
    /// a wider format, see [`Precision::for_head`].
    pub fn head(&self, name: &str, d_input: usize, d_output: usize, bias: bool) -> Linear {
        let at = self.at(name);
        at.adapted(Linear::new(
            at.matrix_as("weight", d_output, d_input, Role::Head),
            bias.then(|| at.param("bias", [d_output], Role::Bias)),
        ))
    }

    /// The embedding table `name`: `name.weight` `[rows, dim]`.
    pub fn embedding(&self, name: &str, rows: usize, dim: usize) -> Embedding {
        Embedding::dense(self.at(name).param("weight", [rows, dim], Role::Embedding))
    }

    /// The embedding table `name` whose vectors are also the rows of the output head.
    pub fn tied_embedding(&self, name: &str, rows: usize, dim: usize) -> Embedding {
        let table = self.at(name).matrix_as("weight", rows, dim, Role::Head);
        Embedding::new(table, self.device)
    }

    /// The layer norm `name`: `name.weight` and `name.bias`, both `[dim]`.
    pub fn layer_norm(&self, name: &str, dim: usize, eps: f64) -> LayerNorm {
        let at = self.at(name);
        LayerNorm::new(
            at.param("weight", [dim], Role::Scale),
            at.param("bias", [dim], Role::Bias),
            eps,
        )
    }

    /// The root-mean-square norm `name`: `name.weight` `[dim]`.
    pub fn rms_norm(&self, name: &str, dim: usize, eps: f64) -> RmsNorm {
        RmsNorm::new(self.at(name).param("weight", [dim], Role::Scale), eps)
    }
}

/// The matrix of a request, packed in the format of its precision: as the source holds it, or of
/// what the source stores.
pub fn packed_matrix(
    source: &dyn WeightSource,
    request: &TensorRequest<'_>,
) -> Option<PackedMatrix> {
    if let Some(packed) = source.packed(request) {
        return Some(packed);
    }
    let &[outputs, inputs] = request.shape else {
        return None;
    };
    let data = source.tensor(request)?;
    let format = request.precision.packed(data.dtype(), request.role);
    let packed = PackedMatrix::from_data(format, outputs, inputs, &data);
    source.release(request);
    packed
}

/// Whether matrices on `device` are held packed.
pub fn packs(device: &Device) -> bool {
    #[cfg(feature = "flex")]
    let packs = crate::flex::serves(device);
    #[cfg(not(feature = "flex"))]
    let packs = {
        let _ = device;
        false
    };
    packs
}

//! The cursor that a model asks.

use std::any::Any;

use burn::{
    module::{Param, ParamId},
    tensor::{DType, Device, Shape, Tensor, TensorData},
};

use super::{
    bias::Bias,
    observer::{Magnitude, WeightObserver},
    precision::Precision,
    request::TensorRequest,
    role::Role,
    shared::{SharedWeights, Sharing},
    source::{Place, WeightSource, device_matrix, packed_matrix},
};
use crate::{
    layer::{
        embedding::Embedding,
        linear::Linear,
        low_rank::LowRank,
        norm::{LayerNorm, RmsNorm},
    },
    matrix::Matrix,
};

/// A cursor into a source of weights: a prefix, a device and a precision.
///
/// ```
/// use blip2_kernels::{Bias, Precision, RandomWeights, Weights};
/// use burn::tensor::Device;
///
/// let (source, device) = (RandomWeights::new(0, 0.02), Device::flex());
/// let root = Weights::new(&source, &device).with_precision(Precision::Bf16);
/// let layer = root.at("encoder").at("layers.0");
/// assert_eq!(layer.name("fc.weight"), "encoder.layers.0.fc.weight");
/// let (fc, norm) = (layer.linear("fc", 64, 64, Bias::With), layer.layer_norm("norm", 64, 1e-6));
/// # let _ = (fc, norm);
/// ```
#[derive(Clone)]
pub struct Weights<'a> {
    source: &'a dyn WeightSource,
    observer: &'a dyn WeightObserver,
    sharing: Option<Sharing<'a>>,
    prefix: String,
    device: &'a Device,
    precision: Precision,
}

impl<'a> Weights<'a> {
    /// A cursor at the root of `source`; what is asked for will be held on `device`.
    pub fn new(source: &'a dyn WeightSource, device: &'a Device) -> Self {
        Self {
            source,
            observer: &(),
            sharing: None,
            prefix: String::new(),
            device,
            precision: Precision::default(),
        }
    }

    /// The cursor with somebody who sees what becomes of what it is asked for.
    #[must_use]
    pub fn observed_by(&self, observer: &'a dyn WeightObserver) -> Self {
        Self {
            observer,
            ..self.clone()
        }
    }

    /// The cursor of a model that shares its tensors with others of the same source, but for those of which
    /// `own` says that they are its own, by their full names. What is shared is read once, by the first
    /// that asks; a tensor that an observer trains must be a model's own.
    #[must_use]
    pub fn sharing(&self, shared: &'a SharedWeights, own: &'a dyn Fn(&str) -> bool) -> Self {
        Self {
            sharing: Some(Sharing { shared, own }),
            ..self.clone()
        }
    }

    /// What a request becomes: as another model has it already, or made now.
    fn part<T: Any + Clone>(
        &self,
        request: &TensorRequest<'_>,
        make: impl FnOnce() -> Option<T>,
    ) -> Option<T> {
        match &self.sharing {
            Some(sharing) => sharing.part(request, make),
            None => make(),
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

    /// Whether the source has tensors of both names below the cursor, with other numbers in each.
    pub fn differ(&self, name: &str, other: &str) -> bool {
        self.source.differ(&self.name(name), &self.name(other))
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
        let name = &self.name(name);
        // What is trained is so in full precision, whatever the others are held in.
        let precision = match self.observer.trains(name) {
            true => Precision::F32,
            false => self.precision,
        };
        let request = TensorRequest {
            name,
            shape: stored,
            role,
            precision,
            device: self.device,
            packs: false,
        };
        let made = self.part(&request, || {
            let data = self.source.tensor(&request)?;
            let dtype = data.dtype();
            let (bytes, _, _) = data.into_parts();
            let data = TensorData::from_bytes(bytes, held, dtype);
            let tensor = Tensor::from_data(data, (self.device, dtype));
            let id = ParamId::new();
            self.observer.made(&request, id);
            Some(Param::initialized(id, tensor))
        });
        made.unwrap_or_else(|| self.uninitialized(held))
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
        self.matrix_stored_as(name, &shape, shape, role)
    }

    /// The matrix of `shape` that the checkpoint stores as `stored`, one of those of
    /// [`matrix_shape`](super::shape::matrix_shape).
    fn matrix_stored_as(
        &self,
        name: &str,
        stored: &[usize],
        shape: [usize; 2],
        role: Role,
    ) -> Matrix {
        if self.observer.trains(&self.name(name)) {
            return Matrix::Dense(self.param_as(name, stored, shape, role));
        }
        let place = Place::of(self.device);
        let integers = matches!(self.precision, Precision::Int8 | Precision::Int4);
        if place == Place::Tensor && !integers {
            return Matrix::Dense(self.param_as(name, stored, shape, role));
        }
        let name = self.name(name);
        let request = self.request(&name, stored, role);
        let matrix = self.part(&request, || match place {
            Place::Device => device_matrix(self.source, &request),
            Place::Host => packed_matrix(self.source, &request).map(Matrix::Packed),
            Place::Tensor => packed_matrix(self.source, &request).map(|packed| {
                let weight = Matrix::Packed(packed).to_tensor(self.device);
                Matrix::Dense(Param::from_tensor(weight))
            }),
        });
        matrix.unwrap_or_else(|| Matrix::Dense(self.uninitialized(shape)))
    }

    /// A request of a matrix that is held as its place holds matrices.
    fn request<'r>(&'r self, name: &'r str, shape: &'r [usize], role: Role) -> TensorRequest<'r> {
        TensorRequest {
            name,
            shape,
            role,
            precision: self.precision,
            device: self.device,
            packs: true,
        }
    }

    /// The linear layer `name`: `name.weight` `[out, in]` and, if asked, `name.bias` `[out]`.
    pub fn linear(&self, name: &str, d_input: usize, d_output: usize, bias: Bias) -> Linear {
        let at = self.at(name);
        at.adapted(Linear::new(
            at.matrix("weight", d_output, d_input),
            bias.is_there()
                .then(|| at.param("bias", [d_output], Role::Bias)),
        ))
    }

    /// The pointwise convolution `name`, which is a linear layer of each position: `name.weight`
    /// `[out, in, 1]` and, if asked, `name.bias` `[out]`. It has no adapter.
    ///
    /// ```
    /// use blip2_kernels::{Bias, RandomWeights, Weights};
    /// use burn::tensor::{Device, Tensor};
    ///
    /// let (source, device) = (RandomWeights::new(0, 0.02), Device::flex());
    /// let conv = Weights::new(&source, &device).pointwise("up_conv", 24, 96, Bias::With);
    /// let x = Tensor::<3>::ones([2, 5, 24], &device); // [batch, positions, channels]
    /// assert_eq!(conv.forward(x).dims(), [2, 5, 96]);
    /// ```
    pub fn pointwise(&self, name: &str, d_input: usize, d_output: usize, bias: Bias) -> Linear {
        let (at, shape) = (self.at(name), [d_output, d_input]);
        let stored = [d_output, d_input, 1];
        Linear::new(
            at.matrix_stored_as("weight", &stored, shape, Role::Matrix),
            bias.is_there()
                .then(|| at.param("bias", [d_output], Role::Bias)),
        )
    }

    /// A layer of one's own making, whose name the cursor has: with its adapter, if the source has
    /// one for it.
    pub fn adapted(&self, linear: Linear) -> Linear {
        match self.low_rank(&linear) {
            Some(adapter) => linear.with_low_rank(adapter),
            None => linear,
        }
    }

    /// The adapter of the layer at this cursor, if the source has one.
    fn low_rank(&self, linear: &Linear) -> Option<LowRank> {
        let (name, shape) = (self.name("weight"), [linear.d_output(), linear.d_input()]);
        let data = self.observer.low_rank(&self.exactly(&name, &shape))?;
        let param = |name: &str, data: TensorData| {
            let (name, shape) = (self.name(name), data.shape().to_vec());
            let id = ParamId::new();
            self.observer.made(&self.exactly(&name, &shape), id);
            Param::initialized(id, Tensor::from_data(data, (self.device, DType::F32)))
        };
        let a = param("lora_A.weight", data.a);
        let b = param("lora_B.weight", data.b);
        let low_rank = LowRank::new(a, b, data.scale, data.dropout);
        let Some(magnitude) = data.magnitude else {
            return Some(low_rank);
        };
        let squares = linear.row_squares(self.device);
        let lengths = match magnitude {
            Magnitude::OfMatrix => squares.clone().sqrt(),
            Magnitude::Given(data) => Tensor::from_data(data, (self.device, DType::F32)),
        };
        let (name, shape) = (self.name("lora_magnitude_vector"), lengths.dims());
        let request = TensorRequest {
            role: Role::Scale,
            ..self.exactly(&name, &shape)
        };
        let id = ParamId::new();
        self.observer.made(&request, id);
        Some(low_rank.with_magnitude(Param::initialized(id, lengths), squares))
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
    pub fn dense_linear(&self, name: &str, d_input: usize, d_output: usize, bias: Bias) -> Linear {
        let at = self.at(name);
        at.adapted(Linear::new(
            Matrix::Dense(at.param("weight", [d_output, d_input], Role::Dense)),
            bias.is_there()
                .then(|| at.param("bias", [d_output], Role::Bias)),
        ))
    }

    /// As [`linear`](Self::linear), for the output head of a language model, which may be held in
    /// a wider format, see [`Precision::for_head`].
    pub fn head(&self, name: &str, d_input: usize, d_output: usize, bias: Bias) -> Linear {
        let at = self.at(name);
        at.adapted(Linear::new(
            at.matrix_as("weight", d_output, d_input, Role::Head),
            bias.is_there()
                .then(|| at.param("bias", [d_output], Role::Bias)),
        ))
    }

    /// The embedding table `name`: `name.weight` `[rows, dim]`.
    pub fn embedding(&self, name: &str, rows: usize, dim: usize) -> Embedding {
        let at = self.at(name);
        if Place::of(self.device) != Place::Device || self.observer.trains(&at.name("weight")) {
            return Embedding::dense(at.param("weight", [rows, dim], Role::Embedding));
        }
        // A device may have no brain floats but those that its kernels unpack.
        let (name, shape) = (at.name("weight"), [rows, dim]);
        let request = at.request(&name, &shape, Role::Embedding);
        let table = at.part(&request, || device_matrix(self.source, &request));
        let table = table.unwrap_or_else(|| Matrix::Dense(self.uninitialized(shape)));
        Embedding::new(table, self.device)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A tensor of three axes, stored as brain floats.
    struct Stored(TensorData);

    impl WeightSource for Stored {
        fn tensor(&self, request: &TensorRequest<'_>) -> Option<TensorData> {
            let fits = **self.0.shape() == *request.shape;
            let held = request.storage(self.0.dtype());
            fits.then(|| self.0.clone().convert_dtype(held))
        }

        fn contains(&self, name: &str) -> bool {
            name == "conv.weight"
        }
    }

    /// The kernel of a pointwise convolution is the matrix of the linear layer that has its numbers.
    #[test]
    fn a_pointwise_convolution_is_a_linear_layer_in_every_precision() {
        let device = Device::flex();
        let values: Vec<f32> = (0..6 * 4).map(|n| (n % 7) as f32 / 2.0 - 1.5).collect();
        let stored = |shape: &[usize]| {
            let data = TensorData::new(values.clone(), shape.to_vec());
            Stored(data.convert_dtype(DType::BF16))
        };
        let (conv, linear) = (stored(&[6, 4, 1]), stored(&[6, 4]));
        let x = Tensor::<3>::from_floats([[[0.5, -1.0, 2.0, 1.5]]], &device);
        for precision in Precision::ALL {
            let conv = Weights::new(&conv, &device).with_precision(precision);
            let conv = conv.pointwise("conv", 4, 6, Bias::Without);
            let linear = Weights::new(&linear, &device).with_precision(precision);
            let linear = linear.linear("conv", 4, 6, Bias::Without);
            let found = conv.forward(x.clone()).into_data();
            assert_eq!(found, linear.forward(x.clone()).into_data(), "{precision}");
            assert!(found.iter::<f32>().any(|value| value != 0.0), "{precision}");
        }
    }

    #[test]
    fn a_pointwise_convolution_takes_the_memory_of_its_matrix() {
        let device = Device::flex();
        for precision in Precision::ALL {
            let bytes =
                |shape: &[usize]| precision.held_bytes(Role::Matrix, shape, DType::F32, &device);
            assert_eq!(bytes(&[96, 24, 1]), bytes(&[96, 24]), "{precision}");
        }
    }
}

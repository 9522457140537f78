//! The methods that every member has.

/// Gives a member its handle, and the methods that all members have. The parts of the type are
/// named by those who call; `pictures` adds what members have that read them.
macro_rules! member {
    ($member:ident, $config:ty, $model:ty) => {
        impl $member {
            /// Loads a Hugging Face checkpoint folder on the default CPU device and in the
            /// checkpoint's own precision.
            ///
            /// Where there is no such folder, `owner/name` or `owner/name@revision` is a model of the
            /// Hugging Face hub as Python has downloaded it. With the feature `hub`, what is not in the
            /// cache is downloaded.
            ///
            /// # Errors
            ///
            /// [`Blip2Error`](crate::Blip2Error) naming the file, key or tensors at fault:
            /// everything that is missing or misshapen is listed.
            /// [`WrongModel`](crate::Blip2Error::WrongModel) for a folder that holds another member
            /// of the family.
            pub fn from_pretrained(
                folder: impl AsRef<std::path::Path>,
            ) -> Result<Self, crate::error::Blip2Error> {
                Self::builder(folder).load()
            }

            /// Loads a checkpoint folder with other than the default settings.
            pub fn builder(folder: impl AsRef<std::path::Path>) -> crate::load::Builder<Self> {
                crate::load::Builder::at(folder.as_ref())
            }

            /// Loads a checkpoint that is open already, or that is held in memory.
            pub fn builder_from(folder: blip2_io::CheckpointFolder) -> crate::load::Builder<Self> {
                crate::load::Builder::of(folder)
            }

            /// The model on tensors.
            pub fn model(&self) -> &$model {
                &self.inner.model
            }

            /// The checkpoint's configuration.
            pub fn config(&self) -> &$config {
                &self.inner.config
            }

            /// The device that holds the model.
            pub fn device(&self) -> &burn::tensor::Device {
                &self.inner.device
            }

            /// The precisions that the model's parts were asked to be held in.
            pub fn precision(&self) -> crate::precision::PrecisionPlan {
                self.inner.precision
            }

            /// The names of the adapters that it can run with, in the order in which they were given; that
            /// of [`Builder::adapter`](crate::Builder::adapter) is `default`.
            pub fn adapters(&self) -> impl Iterator<Item = &str> {
                self.inner.adapters()
            }

            /// The name of the adapter that it runs with.
            pub fn active_adapter(&self) -> Option<&str> {
                self.inner.active_adapter()
            }

            /// The same model with the adapter of this name
            /// ([`Builder::named_adapter`](crate::Builder::named_adapter)). Nothing is loaded or copied:
            /// all share the model's own weights, and each goes on as it is, in as many threads as
            /// there are.
            ///
            /// # Errors
            ///
            /// [`Blip2Error::UnknownAdapter`](crate::Blip2Error::UnknownAdapter) with the names that there
            /// are.
            pub fn with_adapter(&self, name: &str) -> Result<Self, crate::error::Blip2Error> {
                let inner = std::sync::Arc::new(self.inner.with_adapter(name)?);
                Ok(Self { inner })
            }

            /// The same model with none of its adapters.
            #[must_use]
            pub fn without_adapter(&self) -> Self {
                let inner = std::sync::Arc::new(self.inner.without_adapter());
                Self { inner }
            }

            /// What loading found beside the weights that it wanted.
            pub fn load_report(&self) -> &blip2_io::LoadReport {
                &self.inner.report
            }
        }

        impl crate::load::Handle for $member {
            fn of(loaded: crate::load::Loaded<Self>) -> Self {
                let inner = std::sync::Arc::new(loaded);
                Self { inner }
            }

            fn loaded(&self) -> &crate::load::Loaded<Self> {
                &self.inner
            }
        }

        impl std::fmt::Debug for $member {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&self.inner, f)
            }
        }
    };
    (pictures $member:ident) => {
        impl $member {
            /// Decodes a picture file within the limits that the model was built with, for the
            /// calls below.
            ///
            /// # Errors
            ///
            /// [`Blip2Error::Image`](crate::Blip2Error::Image) naming the file and what is wrong
            /// with it.
            pub fn open(
                &self,
                path: impl AsRef<std::path::Path>,
            ) -> Result<image::RgbImage, crate::error::Blip2Error> {
                self.inner.pictures.open(path.as_ref())
            }

            /// Decodes a picture file's bytes, such as an upload, within the same limits as
            /// [`open`](Self::open).
            ///
            /// ```
            /// # let blip2 = blip2_core::Blip2Pipeline::from_pretrained("../blip2-cli/demo")?;
            /// let bytes = std::fs::read("../examples/images/red-triangle.png")?; // an upload
            /// let image = blip2.decode(&bytes)?;
            /// assert!(blip2.decode(b"no picture").is_err());
            /// # let _ = image;
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            ///
            /// # Errors
            ///
            /// [`Blip2Error::Image`](crate::Blip2Error::Image) saying what is wrong with it.
            pub fn decode(&self, bytes: &[u8]) -> Result<image::RgbImage, crate::error::Blip2Error> {
                self.inner.pictures.decode(bytes)
            }

            /// What makes pixel values of pictures, as the checkpoint's configuration says.
            pub fn processor(&self) -> &blip2_io::preprocessing::ImageProcessor {
                &self.inner.pictures.processor
            }
        }
    };
    (texts $member:ident, $($tokenizer:tt)+) => {
        impl $member {
            /// The tokenizer by which the model reads and writes.
            pub fn tokenizer(&self) -> &blip2_io::Tokenizer {
                &self.inner.texts.$($tokenizer)+
            }
        }
    };
}
pub(crate) use member;

//! One idiom for configurations and options.

/// Gives a `#[non_exhaustive]` struct with public fields its `with_…` setters, so that it can be
/// written in one expression outside of its crate and may still grow a field. For this project's own
/// crates.
///
/// A setter and its field are both named, since a declarative macro cannot join two names. What a
/// setter takes is named too: where a field is optional, `impl Into<Option<T>>` takes a value as it
/// is as well as `None`.
#[doc(hidden)]
#[macro_export]
macro_rules! setters {
    ($owner:ident { $($setter:ident($field:ident: $type:ty)),+ $(,)? }) => {
        impl $owner {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $setter(mut self, $field: $type) -> Self {
                    self.$field = $field.into();
                    self
                }
            )+
        }
    };
}

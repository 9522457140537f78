//! The instruction sets that kernels are written for, and the choice among them at run time.
//!
//! Nothing outside this module knows instructions: [`tile`] holds the inner loops of matrix products by
//! vectors and [`unit`] those by matrix units, and [`vectorized!`] compiles a plain loop once for each set.

#[cfg(target_arch = "x86_64")]
mod amx_permission;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod peak;
mod portable;
#[cfg(feature = "autodiff")]
pub(crate) mod strided;
pub(crate) mod tile;
pub(crate) mod tile_kind;
pub(crate) mod unit;
#[cfg(feature = "autodiff")]
pub(crate) mod view;
mod wide;

use std::{fmt, sync::OnceLock};

/// A set of vector instructions, each containing those before it but for
/// [`AmxEmulated`](Self::AmxEmulated) and [`AvxVnni`](Self::AvxVnni).
///
/// ```
/// use blip2_kernels::Isa;
///
/// println!("{} of {:?}", Isa::active(), Isa::available().collect::<Vec<_>>());
/// assert!(Isa::available().any(|isa| isa == Isa::active()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// What every processor of the target has; the compiler vectorises with SSE2 or NEON.
    Portable,
    /// As `Portable`, with the sums of [`Amx`](Self::Amx) in plain Rust: to the bit its products of brain
    /// floats, on any machine and slowly. Used only where it is asked for.
    AmxEmulated,
    /// x86 AVX2 with FMA and F16C.
    Avx2,
    /// AVX2 with AVX-VNNI: products of 8-bit integers.
    AvxVnni,
    /// x86 AVX-512 F, BW, DQ and VL, with AVX2 and without AVX-VNNI.
    Avx512,
    /// AVX-512 with VNNI: products of 8-bit integers.
    Avx512Vnni,
    /// AVX-512 with VNNI and BF16: products of brain floats.
    Avx512Bf16,
    /// `Avx512Bf16` with AMX, a matrix unit for products of 8-bit integers and of brain floats; on
    /// Linux, which has to permit it.
    Amx,
}

impl Isa {
    /// The environment variable that holds kernels to a narrower set than the machine has, by its
    /// [name](Isa::name). A name that is unknown, or of a set that the machine lacks, is ignored.
    pub const VARIABLE: &str = "BLIP2_ISA";

    const ALL: [Self; 8] = [
        Self::Portable,
        Self::AmxEmulated,
        Self::Avx2,
        Self::AvxVnni,
        Self::Avx512,
        Self::Avx512Vnni,
        Self::Avx512Bf16,
        Self::Amx,
    ];

    /// The sets that this machine has, narrowest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available())
    }

    /// The set in use: the widest of the machine, or the one that [`Isa::VARIABLE`] asked for when
    /// the first product was computed.
    pub fn active() -> Self {
        static ACTIVE: OnceLock<Isa> = OnceLock::new();
        *ACTIVE.get_or_init(|| {
            let asked = std::env::var(Self::VARIABLE).ok();
            let asked = Self::available().find(|isa| Some(isa.name()) == asked.as_deref());
            let widest = Self::available()
                .filter(|isa| *isa != Self::AmxEmulated)
                .last();
            asked.or(widest).unwrap_or(Self::Portable)
        })
    }

    /// The name: `portable`, `amx-emulated`, `avx2`, `avxvnni`, `avx512`, `avx512vnni`, `avx512bf16` or
    /// `amx`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::AmxEmulated => "amx-emulated",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avxvnni",
            Self::Avx512 => "avx512",
            Self::Avx512Vnni => "avx512vnni",
            Self::Avx512Bf16 => "avx512bf16",
            Self::Amx => "amx",
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn is_available(self) -> bool {
        match self {
            Self::Portable | Self::AmxEmulated => true,
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            Self::AvxVnni => Self::Avx2.is_available() && is_x86_feature_detected!("avxvnni"),
            Self::Avx512 => {
                Self::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            Self::Avx512Vnni => {
                Self::Avx512.is_available() && is_x86_feature_detected!("avx512vnni")
            }
            Self::Avx512Bf16 => {
                Self::Avx512Vnni.is_available() && is_x86_feature_detected!("avx512bf16")
            }
            Self::Amx => Self::Avx512Bf16.is_available() && amx_permission::is_granted(),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn is_available(self) -> bool {
        matches!(self, Self::Portable | Self::AmxEmulated)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Compiles a function of slices once for each width of vector and calls the widest that `isa`
/// allows: `vectorized! { fn name(arguments) -> Result { body } }` makes
/// `fn name(isa: Isa, arguments) -> Result`. The body is a plain loop that the compiler vectorises;
/// sums must be written over [`LANES`](crate::kernel::isa::LANES) accumulators, since the compiler does not
/// reorder them.
macro_rules! vectorized {
    ($(#[$doc:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block) => {
        $(#[$doc])*
        #[allow(unsafe_code)]
        $visibility fn $name(isa: $crate::kernel::isa::Isa, $($argument: $type),*) $(-> $result)? {
            #[inline(always)]
            fn body($($argument: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
            fn avx512($($argument: $type),*) $(-> $result)? { body($($argument),*) }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2($($argument: $type),*) $(-> $result)? { body($($argument),*) }

            #[cfg(target_arch = "x86_64")]
            {
                if isa >= $crate::kernel::isa::Isa::Avx512 {
                    // SAFETY: an `Isa` is made by asking the processor for it, so that it has the
                    // instructions; the function itself is safe.
                    return unsafe { avx512($($argument),*) };
                }
                if isa >= $crate::kernel::isa::Isa::Avx2 {
                    // SAFETY: as above.
                    return unsafe { avx2($($argument),*) };
                }
            }
            let _ = isa;
            body($($argument),*)
        }
    };
}
pub(crate) use vectorized;

/// Has a line of memory brought near before it is used; does nothing where there is no instruction
/// for that.
#[inline(always)]
#[allow(unsafe_code)]
pub(crate) fn prefetch(place: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has the instruction, and it is harmless with any address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(place.cast());
    }
    let _ = place;
}

/// Has some bytes brought into the second level of the cache, where there is an instruction for that.
#[allow(unsafe_code)]
pub(crate) fn bring_near(bytes: &[u8]) {
    const LINE: usize = 64;
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(LINE) {
        // SAFETY: as in `prefetch`.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast());
        }
    }
    let _ = (bytes, LINE);
}

/// Has the lines of the cache that will soon be read brought near, further ahead than the processor looks
/// itself: a row alone is then multiplied as fast as memory can be read.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn look_ahead(w: *const u8, lines: usize) {
    /// In bytes.
    const DISTANCE: usize = 1 << 11;
    const LINE: usize = 64;
    for line in 0..lines {
        prefetch(w.wrapping_add(DISTANCE + LINE * line).cast());
    }
}

/// How many accumulators a sum is spread over, so that it can be vectorised.
pub(crate) const LANES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_machine_has_the_portable_set_first() {
        assert_eq!(Isa::available().next(), Some(Isa::Portable));
        assert!(Isa::available().any(|isa| isa == Isa::active()));
    }
}

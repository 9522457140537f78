//! Whether the processor has AMX and the system lets this process use it.

/// Whether AMX's tiles and its products of 8-bit integers and brain floats can be used. Asks the system
/// for its permission the first time, for the whole process.
#[cfg(target_os = "linux")]
pub(super) fn is_granted() -> bool {
    static GRANTED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *GRANTED.get_or_init(|| processor_has_it() && ask())
}

/// Other systems have no such permission, or are not asked.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_granted() -> bool {
    false
}

/// `amx-bf16`, `amx-tile` and `amx-int8`; the standard library does not tell of them yet.
#[cfg(target_os = "linux")]
fn processor_has_it() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};

    const EXTENDED_FEATURES: u32 = 7;
    const WANTED: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    let last = __cpuid(0).eax;
    last >= EXTENDED_FEATURES && __cpuid_count(EXTENDED_FEATURES, 0).edx & WANTED == WANTED
}

/// `arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA)`: a thread's tiles take 8 KiB wherever its registers are
/// saved, so that Linux (5.16 and later) wants to be asked for them once. A kernel that does not know the
/// request, or a processor whose tiles it does not save, refuses.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn ask() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    const XTILEDATA: i64 = 18;
    let answer: i64;
    // SAFETY: a system call of numbers alone, which reads and writes none of our memory; of registers it
    // changes those that are named.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => answer,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer == 0
}

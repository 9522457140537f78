//! Where packed matrices live.

use std::sync::Arc;

use memmap2::MmapMut;

/// Zeroed memory of `len` bytes, which `fill` writes and nobody after it.
///
/// Large matrices get pages of their own, large ones where the system has them: a decoder streams
/// gigabytes of weights for each token, and with small pages a good part of that time goes to
/// address translation.
pub(super) fn filled(
    len: usize,
    fill: impl FnOnce(&mut [u8]),
) -> Arc<dyn AsRef<[u8]> + Send + Sync> {
    const LARGE: usize = 1 << 20;
    if len >= LARGE
        && let Ok(mut pages) = MmapMut::map_anon(len)
    {
        // A request that may be refused without harm.
        #[cfg(target_os = "linux")]
        let _ = pages.advise(memmap2::Advice::HugePage);
        fill(&mut pages);
        return Arc::new(pages);
    }
    let mut bytes = vec![0; len];
    fill(&mut bytes);
    Arc::new(bytes)
}

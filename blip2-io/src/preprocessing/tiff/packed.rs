//! Numbers of fewer bits than a byte.

/// Numbers of fewer bits than a byte, the first in the highest; each row begins with a byte of its own.
pub(super) fn unpacked(packed: &[u8], bits: u8, width: usize) -> impl Iterator<Item = u8> {
    let each = usize::from(8 / bits);
    let rows = packed.chunks(width.div_ceil(each).max(1));
    rows.flat_map(move |row| {
        (0..width).map_while(move |x| {
            let byte = row.get(x / each)?;
            let shift = 8 - bits * (x % each + 1) as u8;
            Some((byte >> shift) & (u8::MAX >> (8 - bits)))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unpacked_row_by_row() {
        let numbers =
            |packed: &[u8], bits, width| -> Vec<u8> { unpacked(packed, bits, width).collect() };
        assert_eq!(
            numbers(&[0b1010_0000, 0b0110_0000], 1, 3),
            [1, 0, 1, 0, 1, 1]
        );
        assert_eq!(numbers(&[0b0001_1011, 0b1000_0000], 2, 5), [0, 1, 2, 3, 2]);
        assert_eq!(numbers(&[0x1f, 0x20], 4, 3), [1, 15, 2]);
        assert_eq!(numbers(&[7, 255], 8, 2), [7, 255]);
        assert!(numbers(&[], 4, 3).is_empty());
    }
}

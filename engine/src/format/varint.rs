//! Numbers in as few bytes as they need: seven bits a byte, low bits first, the high bit says that more follow (LEB128).
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

/// Appends a number.
pub fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a number from the front of `bytes`. `None` if the bytes end inside it, it does not fit into 64 bits, or it was not
/// written in the fewest bytes.
pub fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for i in 0..10u32 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7F);
        if i == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * i);
        if byte & 0x80 == 0 {
            return (i == 0 || bits != 0).then_some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_back_and_has_one_spelling() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, u64::from(u32::MAX), u64::MAX >> 1, u64::MAX] {
            let mut bytes = Vec::new();
            write_varint(&mut bytes, value);
            assert_eq!(read_varint(&mut bytes.as_slice()), Some(value));
            for cut in 0..bytes.len() {
                assert_eq!(read_varint(&mut &bytes[..cut]), None, "{value} cut to {cut} bytes");
            }
        }
        assert_eq!(read_varint(&mut [0x80, 0x00].as_slice()), None, "two bytes for zero");
        assert_eq!(read_varint(&mut [0xFF; 10].as_slice()), None, "more than 64 bits");
        assert_eq!(read_varint(&mut [0xFF; 20].as_slice()), None, "without an end");
    }
}

//! Forged files with right checksums: an own CRC-32 and an own manifest walk, so that the engine does not check itself.

use stratavec::storage::FileName;

fn mix64(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// CRC-32 of zlib, bit by bit, continued from `start`.
fn crc32(start: u32, bytes: &[u8]) -> u32 {
    let mut crc = !start;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// The checksum of bytes at `offset` of a file, by the formulas of `format-spec/README.md`.
pub fn unit_crc(file: FileName, offset: u64, bytes: &[u8]) -> u32 {
    let id = file.file_id();
    let seed = (mix64(id.number ^ mix64(id.epoch)) >> 32) as u32;
    crc32(seed ^ (offset >> 3) as u32 ^ (offset >> 35) as u32, bytes)
}

/// Changes both copies of a manifest alike and makes their checksums right again. `change` may change the copy's length.
pub fn reseal_manifest(file: &mut Vec<u8>, name: FileName, change: impl Fn(&mut Vec<u8>)) {
    let copy_len = u32::from_le_bytes(file[12..16].try_into().expect("four bytes")) as usize;
    let mut copy = file[..copy_len].to_vec();
    change(&mut copy);
    let end = copy.len();
    let second = end.next_multiple_of(4096);
    copy[12..16].copy_from_slice(&(end as u32).to_le_bytes());
    file.clear();
    for at in [0, second] {
        file.resize(at, 0);
        let crc = unit_crc(name, at as u64, &copy[..end - 4]);
        copy[end - 4..].copy_from_slice(&crc.to_le_bytes());
        file.extend_from_slice(&copy);
    }
}

//! Proving many overlapping records in one pass over their bytes.
//!
//! What users store may look like beginnings of records, each of which claims most of the log. To checksum every one of
//! them takes time that grows with the square of the log. CRC-32 is linear, so one running checksum does for all: let
//! `R(x)` be the checksum of everything from the start of the pass to `x`, and `shift(c, n)` the checksum `c` continued
//! over `n` zero bytes without their effect. A record whose header has the checksum `h`, whose payload is `p..e` and whose
//! own checksum is `c` is whole exactly if `R(e) = c ^ shift(h ^ R(p), e - p)`. The right side is known at `p`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crc32fast::Hasher;
use zerocopy::IntoBytes;

use crate::format::checksum::{crc32, matches};
use crate::format::log::{RECORD_HEADER_BYTES, RecordHeader};

/// A record whose beginning was seen: its end, its length, and the running checksum there if it is whole. Ordered by its end.
type Candidate = Reverse<(u64, u32, u32)>;

/// Records whose ends a pass has not reached. A record is at most 64 MiB long and two of them begin at least 16 bytes apart on
/// average, so what is kept is bounded whatever the log holds.
pub(super) struct Candidates {
    seed: u32,
    running: u32,
    open: BinaryHeap<Candidate>,
}

impl Candidates {
    /// For a pass over a log whose checksums start from `seed`.
    pub(super) fn new(seed: u32) -> Self {
        Candidates { seed, running: 0, open: BinaryHeap::new() }
    }

    /// Where a record begins that ends at `at`, the place reached, and is whole.
    pub(super) fn whole_at(&mut self, at: u64) -> Option<u64> {
        while let Some(Reverse((end, len, expected))) = self.open.peek().copied()
            && end <= at
        {
            self.open.pop();
            if end == at && matches(self.running, expected) {
                return end.checked_sub(u64::from(len));
            }
        }
        None
    }

    /// Takes up the record whose header is at the place reached. Its length was proven to fit the log.
    pub(super) fn begin(&mut self, at: u64, header: &RecordHeader) {
        let head = RECORD_HEADER_BYTES as u32;
        let payload = header.payload_len.get();
        let Some(len) = payload.checked_add(head) else { return };
        let at_payload = crc32(self.running, header.as_bytes());
        let expected = header.crc.get() ^ shift(header.checksum(self.seed, at, &[]) ^ at_payload, payload);
        self.open.push(Reverse((at.saturating_add(u64::from(len)), len, expected)));
    }

    /// Goes on over the next bytes.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        self.running = crc32(self.running, bytes);
    }
}

/// `shift` of the module's head.
fn shift(crc: u32, zeros: u32) -> u32 {
    let mut shifted = Hasher::new_with_initial(crc);
    shifted.combine(&Hasher::new_with_initial_len(0, u64::from(zeros)));
    shifted.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: u32 = 0x5EED;

    /// Bytes with a whole record for each (offset, payload length) and noise between; a later one may lie inside an earlier
    /// one's payload if it is written first.
    fn put(bytes: &mut [u8], at: usize, len: usize) -> RecordHeader {
        let mut header = RecordHeader {
            crc: 0.into(),
            payload_len: (len as u32).into(),
            seq: 9.into(),
            synced_to: 0.into(),
            previous_crc: 0.into(),
            kind: 1,
            reserved: [0; 3],
        };
        let payload = at + RECORD_HEADER_BYTES;
        header.crc = header.checksum(SEED, at as u64, &bytes[payload..payload + len]).into();
        bytes[at..payload].copy_from_slice(header.as_bytes());
        header
    }

    fn noise(len: usize) -> Vec<u8> {
        (0..len as u64).map(|i| (crate::format::mix64(i) >> 17) as u8).collect()
    }

    /// Starts of the records found whole, with candidates taken up at `begins`.
    fn found(bytes: &[u8], begins: &[(usize, RecordHeader)]) -> Vec<u64> {
        let mut candidates = Candidates::new(SEED);
        let mut whole = Vec::new();
        for at in (0..=bytes.len()).step_by(8) {
            while let Some(start) = candidates.whole_at(at as u64) {
                whole.push(start);
            }
            for (_, header) in begins.iter().filter(|(begin, _)| *begin == at) {
                candidates.begin(at as u64, header);
            }
            candidates.pass(bytes.get(at..at + 8).unwrap_or_default());
        }
        whole.sort_unstable();
        whole
    }

    #[test]
    fn records_are_found_inside_and_across_each_other_and_at_the_end_of_the_log() {
        let mut bytes = noise(4096);
        // One inside another's payload, one without a payload, one up to the last byte.
        let inner = put(&mut bytes, 640, 256);
        let outer = put(&mut bytes, 64, 2048);
        let empty = put(&mut bytes, 2304, 0);
        let last = put(&mut bytes, 3072, 4096 - 3072 - RECORD_HEADER_BYTES);
        let begins = [(640, inner), (64, outer), (2304, empty), (3072, last)];
        assert_eq!(found(&bytes, &begins), [64, 640, 2304, 3072]);
    }

    #[test]
    fn any_changed_bit_of_a_record_makes_it_not_whole_and_bits_outside_do_not_matter() {
        let mut bytes = noise(512);
        let header = put(&mut bytes, 64, 128);
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let inside = (64 + RECORD_HEADER_BYTES..64 + RECORD_HEADER_BYTES + 128).contains(&(bit / 8));
            let in_header = (64..64 + RECORD_HEADER_BYTES).contains(&(bit / 8));
            // A header is read from the same bytes that are passed.
            let read = zerocopy::FromBytes::read_from_prefix(&changed[64..]).map(|(read, _): (RecordHeader, _)| read);
            let read = if in_header { read.unwrap() } else { header };
            if read.payload_len.get() != header.payload_len.get() {
                continue;
            }
            assert_eq!(found(&changed, &[(64, read)]) == [64], !inside && !in_header, "bit {bit}");
        }
    }

    #[test]
    fn the_shift_continues_a_checksum_over_zeros_without_their_own_effect() {
        for zeros in [0u32, 1, 8, 4096, 100_000] {
            let bytes = vec![0; zeros as usize];
            assert_eq!(shift(0xABCD, zeros), crc32(0xABCD, &bytes) ^ crc32(0, &bytes), "{zeros}");
        }
    }
}

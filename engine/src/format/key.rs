//! The order of id tables: a 64-bit key for each id.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use super::mix64;
use crate::id::IdRef;

/// The key of an id: for numbers [`mix64`], a bijection, so equal keys are equal ids; for byte strings SipHash-2-4 under the
/// collection's 128-bit id (low half first), so that nobody who does not know the collection can choose colliding ids.
pub fn id_key(id: IdRef<'_>, collection: u128) -> u64 {
    match id {
        IdRef::U64(n) => mix64(n),
        IdRef::Bytes(bytes) => {
            let mut hasher = SipHasher24::new_with_keys(collection as u64, (collection >> 64) as u64);
            hasher.write(bytes);
            hasher.finish()
        }
    }
}

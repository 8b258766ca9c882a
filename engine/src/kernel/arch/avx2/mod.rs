//! AVX2 with FMA and F16C.

mod bytes;
pub(super) mod cluster;
mod code;
mod distance;
mod lanes;

use super::{Table, distance_table, portable_compression, portable_functions};
use distance::{Bf16, Dot, F16, F32, I8, L2, U8, gather, many, many as block, one};

pub(super) static TABLE: Table = Table {
    distances: distance_table!(),
    bytes: bytes::BYTES,
    squared_length,
    rotate,
    encode,
    prepare,
    encode_row_code,
    encode_product,
    prepare_product,
    train_product,
    scan_columns: code::scan_columns,
    select,
    places_up_to,
    near,
    front,
    sift,
    scan: code::scan,
    estimate: code::estimate,
    estimates: code::ESTIMATES,
};

portable_functions!(lanes::Avx2::assume(); #[target_feature(enable = "avx2,fma,f16c,bmi1,popcnt")]);
portable_compression!(lanes::Avx2::assume(); #[target_feature(enable = "avx2,fma,f16c,bmi1,popcnt")]);

//! AVX-512 F, BW, DQ, VL, VBMI, VNNI, VPOPCNTDQ.

mod bytes;
pub(super) mod cluster;
mod code;
mod distance;
mod lanes;
mod product;

use super::{Table, distance_table, portable_functions};
use distance::{Bf16, Dot, F16, F32, I8, L2, U8, block, gather, many, one};

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
    scan_columns: product::scan_columns,
    select,
    places_up_to: code::places_up_to,
    near,
    front,
    sift: code::sift,
    scan: code::scan,
    estimate: code::estimate,
    estimates: code::ESTIMATES,
};

portable_functions!(lanes::Avx512::assume(); #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi1,popcnt")]);

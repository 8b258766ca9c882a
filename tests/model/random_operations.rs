//! Random operations against the oracle, for every metric, row format and kind of id, in memory and on a disk.

use proptest::collection::vec;
use proptest::prelude::*;
use stratavec::{IdKind, Metric, RowFormat};

use crate::operation::{Operation, Settings, operation, settings};
use crate::place::Place;
use crate::proof::prove;
use crate::session::play;
use crate::space::{Space, spaces};

const CASES_IN_MEMORY: u32 = 100;
const CASES_ON_DISK: u32 = 3;

/// A case of this suite.
#[derive(Clone, Debug)]
pub struct Case {
    pub space: Space,
    pub settings: Settings,
    pub operations: Vec<Operation>,
}

pub fn cases(space: impl Strategy<Value = Space>, longest: usize) -> impl Strategy<Value = Case> {
    (space, settings(), vec(operation(), 1..longest)).prop_map(|(space, settings, operations)| Case {
        space,
        settings,
        operations,
    })
}

fn agrees(name: &str, cases_each: u32, metric: Metric, rows: RowFormat, place: impl Fn() -> Place) {
    for ids in [IdKind::U64, IdKind::Bytes] {
        let name = format!("{name} {} {} {}", metric.name(), rows.name(), ids.name());
        prove(&name, cases_each, &cases(spaces(metric, rows, ids), 40), |case| {
            play(case.space, case.settings, place(), &case.operations).map(drop)
        });
    }
}

// [C5], [C6], [C7], [C8], [C9]: reads after every operation, after reopening, after a kill, and of snapshots kept meanwhile.
macro_rules! combinations {
    ($($name:ident: $metric:ident, $rows:ident;)*) => {
        mod in_memory {
            use super::*;
            $(#[test] fn $name() {
                agrees("in memory", CASES_IN_MEMORY, Metric::$metric, RowFormat::$rows, Place::memory);
            })*
        }
        mod on_disk {
            use super::*;
            $(#[test] fn $name() {
                agrees("on disk", CASES_ON_DISK, Metric::$metric, RowFormat::$rows, Place::disk);
            })*
        }
    };
}

combinations! {
    l2_f32: L2, F32;
    l2_f16: L2, F16;
    l2_bf16: L2, Bf16;
    cosine_f32: Cosine, F32;
    cosine_f16: Cosine, F16;
    cosine_bf16: Cosine, Bf16;
    l2_i8: L2, I8;
    cosine_i8: Cosine, I8;
    inner_product_i8: InnerProduct, I8;
    l2_none: L2, None;
    cosine_none: Cosine, None;
    inner_product_none: InnerProduct, None;
    inner_product_f32: InnerProduct, F32;
    inner_product_f16: InnerProduct, F16;
    inner_product_bf16: InnerProduct, Bf16;
}

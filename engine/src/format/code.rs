//! The numbers that stand for the words of a schema in files. Once given, a number is never given again.

use crate::id::IdKind;
use crate::metric::{Element, Metric, RowFormat};

/// A word that files write as a number.
pub trait Code: Sized {
    /// The number.
    fn code(self) -> u8;
    /// The word; `None` for a number that this build does not know.
    fn from_code(code: u64) -> Option<Self>;
}

macro_rules! codes {
    ($type:ty: $($word:path = $code:literal),*) => {
        impl Code for $type {
            fn code(self) -> u8 {
                match self { $($word => $code),* }
            }
            fn from_code(code: u64) -> Option<Self> {
                match code { $($code => Some($word),)* _ => None }
            }
        }
    };
}

codes!(Metric: Metric::L2 = 1, Metric::Cosine = 2, Metric::InnerProduct = 3);
codes!(RowFormat: RowFormat::F32 = 1, RowFormat::F16 = 2, RowFormat::Bf16 = 3, RowFormat::I8 = 4, RowFormat::None = 5);
// The same numbers as of the row formats: 5 is that of rows without vectors.
codes!(Element: Element::F32 = 1, Element::F16 = 2, Element::Bf16 = 3, Element::I8 = 4, Element::U8 = 6);
codes!(IdKind: IdKind::U64 = 1, IdKind::Bytes = 2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_and_unknown_ones_are_nothing() {
        for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
            assert_eq!(Metric::from_code(metric.code().into()), Some(metric));
        }
        for format in [RowFormat::F32, RowFormat::F16, RowFormat::Bf16, RowFormat::I8, RowFormat::None] {
            assert_eq!(RowFormat::from_code(format.code().into()), Some(format));
        }
        for kind in [IdKind::U64, IdKind::Bytes] {
            assert_eq!(IdKind::from_code(kind.code().into()), Some(kind));
        }
        for element in Element::ALL {
            assert_eq!(Element::from_code(element.code().into()), Some(element));
        }
        for unknown in [0, 6, 258, u64::MAX] {
            assert_eq!((Metric::from_code(unknown), RowFormat::from_code(unknown)), (None, None));
            assert_eq!(Element::from_code(unknown), (unknown == 6).then_some(Element::U8));
            assert_eq!(IdKind::from_code(unknown), None);
        }
    }
}

//! Distances and stored element types: the words every layer uses for them.

/// How the distance between two vectors is defined. Smaller is nearer for every metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Metric {
    /// Squared Euclidean distance, `sum (a_i - b_i)^2`, in 0..
    L2,
    /// `1 - cos(a, b)`, in 0..=2. A zero vector is refused.
    Cosine,
    /// Negated inner product, `-sum a_i b_i`; any finite number.
    InnerProduct,
}

impl Metric {
    /// The name used in JSON, on the command line and in error texts.
    pub fn name(self) -> &'static str {
        match self {
            Metric::L2 => "l2",
            Metric::Cosine => "cosine",
            Metric::InnerProduct => "ip",
        }
    }
}

/// How the vector of a row is stored. Distances are exact with respect to the stored (rounded) components.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum RowFormat {
    /// 32-bit floats: what was given, bit for bit. 4 bytes per component.
    #[default]
    F32,
    /// IEEE half precision: relative error 2^-11, largest 65,504. 2 bytes per component.
    F16,
    /// bfloat16: relative error 2^-8, the range of f32. 2 bytes per component.
    Bf16,
}

impl RowFormat {
    /// The name used in JSON, on the command line and in error texts.
    pub fn name(self) -> &'static str {
        match self {
            RowFormat::F32 => "f32",
            RowFormat::F16 => "f16",
            RowFormat::Bf16 => "bf16",
        }
    }

    /// Bytes per component.
    pub fn component_bytes(self) -> usize {
        match self {
            RowFormat::F32 => 4,
            RowFormat::F16 | RowFormat::Bf16 => 2,
        }
    }
}

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

/// How the vector of a row is stored. Distances are exact with respect to the stored components, which the floats of 32 and 16 bits hold
/// as they were given or rounded; with [`RowFormat::I8`] they are estimates.
///
/// A file whose rows all have components that a shorter kind of number holds to the bit is that much shorter, by itself: whole numbers from 0 to 255 take
/// a byte each, halves and bfloat16 two, in a collection of any of the three formats of floats that are longer. Answers are the same.
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
    /// A signed byte for each component and one step for the row, a 127th of its largest component: an error of at most half a step. 1 byte
    /// per component, and 4. What is measured with such rows is called an estimate, and what is read back approximate.
    I8,
    /// None, once a row is in its list: its code there tells how near it is, and nothing can be read back. Until then it waits as
    /// [`RowFormat::I8`]. For collections with lists whose vectors can be had from elsewhere. As rows come lists are added, and codes stay what
    /// they are.
    None,
}

impl RowFormat {
    /// The name used in JSON, on the command line and in error texts.
    pub fn name(self) -> &'static str {
        match self {
            RowFormat::F32 => "f32",
            RowFormat::F16 => "f16",
            RowFormat::Bf16 => "bf16",
            RowFormat::I8 => "i8",
            RowFormat::None => "none",
        }
    }

    /// What components are in a log and in memory, and in files unless there is a shorter one that holds them; for `None`, while they are stored.
    #[doc(hidden)]
    pub fn element(self) -> Element {
        match self {
            RowFormat::F32 => Element::F32,
            RowFormat::F16 => Element::F16,
            RowFormat::Bf16 => Element::Bf16,
            RowFormat::I8 | RowFormat::None => Element::I8,
        }
    }

    /// Bytes of one stored vector of `dim` components; for `None`, while it is stored. A file needs fewer where all components of its rows are
    /// numbers of a shorter kind.
    pub fn vector_bytes(self, dim: usize) -> usize {
        self.element().vector_bytes(dim)
    }

    /// Whether vectors are there to be read back and measured.
    pub fn keeps_vectors(self) -> bool {
        self != RowFormat::None
    }

    /// Whether what is stored is the vector itself, at most rounded to shorter floats, so that distances from it are exact.
    pub fn is_exact(self) -> bool {
        !matches!(self, RowFormat::I8 | RowFormat::None)
    }
}

/// What the components of a stored vector are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// 32-bit floats.
    F32,
    /// IEEE halves.
    F16,
    /// bfloat16.
    Bf16,
    /// Signed bytes, and one step for the vector.
    I8,
    /// Bytes: the numbers 0 to 255.
    U8,
}

impl Element {
    /// All, in the order of their declaration.
    pub const ALL: [Element; 5] = [Element::F32, Element::F16, Element::Bf16, Element::I8, Element::U8];

    /// Bytes of one stored vector of `dim` components.
    pub fn vector_bytes(self, dim: usize) -> usize {
        match self {
            Element::F32 => dim.saturating_mul(4),
            Element::F16 | Element::Bf16 => dim.saturating_mul(2),
            Element::I8 => dim.saturating_add(4),
            Element::U8 => dim,
        }
    }

    /// The name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            Element::F32 => "f32",
            Element::F16 => "f16",
            Element::Bf16 => "bf16",
            Element::I8 => "i8",
            Element::U8 => "u8",
        }
    }

    /// The shortest of a collection's elements that holds what these two hold; `None`: its own.
    pub fn joined(self, other: Element) -> Option<Element> {
        match (self, other) {
            (one, same) if one == same => Some(one),
            (Element::U8, longer) | (longer, Element::U8) => Some(longer),
            _ => None,
        }
    }

    /// Those that are shorter and hold some of the vectors that this one holds, the shortest first.
    pub fn narrower(self) -> &'static [Element] {
        match self {
            Element::F32 => &[Element::U8, Element::F16, Element::Bf16],
            Element::F16 | Element::Bf16 => &[Element::U8],
            Element::I8 | Element::U8 => &[],
        }
    }
}

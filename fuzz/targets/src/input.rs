//! An input as a sequence of choices.

/// Takes numbers from the front of an input. Behind its end everything is zero, so any bytes are a whole sequence of choices.
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// Begins at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Input { rest: bytes }
    }

    /// Whether all bytes are used.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next bytes, fewer at the end.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// All bytes that are left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.bytes(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    /// The next byte.
    pub fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// The next two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// The next four bytes.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// The next eight bytes.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// Any float.
    pub fn f32(&mut self) -> f32 {
        f32::from_bits(self.u32())
    }

    /// A float whose sums and products with others of its kind are exact, whatever their order.
    pub fn small_float(&mut self) -> f32 {
        f32::from(self.u8().cast_signed()) / 4.0
    }

    /// A number below `end`, from one byte if that is enough, else from two or four.
    pub fn below(&mut self, end: usize) -> usize {
        let drawn = match end {
            0..=256 => usize::from(self.u8()),
            257..=65_536 => usize::from(self.u16()),
            _ => self.u32() as usize,
        };
        drawn % end.max(1)
    }
}

//! Rows become entries of lists.

use super::centroids::CentroidSet;
use super::entries::EncodedList;
use super::frame::Frame;
use crate::kernel::code::extra::append_record;
use crate::kernel::code::product::{Codebook, ProductScratch};
use crate::kernel::code::residual::{Coded, Coding, SignFactors};
use crate::kernel::{Kernels, Op};

/// What a row is coded as.
#[derive(Clone, Copy)]
pub(crate) enum Coder<'a> {
    /// Bits per component, 1 to 8.
    Bits(usize),
    /// Numbers of the codewords of a book.
    Product(&'a Codebook),
    /// Nothing.
    None,
}

/// Codes rows of one list after the other. One for each thread.
pub(crate) struct EntryEncoder<'a> {
    kernels: &'static Kernels,
    frame: &'a Frame,
    centroids: CentroidSet<'a>,
    coder: Coder<'a>,
    centroid: Vec<f32>,
    inside: Vec<f32>,
    coded: Coded,
    product: ProductScratch,
    code: Vec<u8>,
}

impl<'a> EntryEncoder<'a> {
    /// Ready for rows.
    pub(crate) fn new(
        kernels: &'static Kernels,
        frame: &'a Frame,
        centroids: CentroidSet<'a>,
        coder: Coder<'a>,
    ) -> Self {
        let (centroid, inside, coded) = (Vec::new(), Vec::new(), Coded::default());
        let (product, code) = (ProductScratch::default(), Vec::new());
        EntryEncoder { kernels, frame, centroids, coder, centroid, inside, coded, product, code }
    }

    /// What comes next belongs to `list`.
    pub(crate) fn begin(&mut self, list: usize) {
        self.centroids.centroid(list, self.frame.padded(), &mut self.centroid);
    }

    /// Appends a row. Under cosine `length` is that of the vector.
    pub(crate) fn push(&mut self, row: u64, vector: &[f32], length: f32, out: &mut EncodedList) {
        let mut inside = std::mem::take(&mut self.inside);
        if !matches!(self.coder, Coder::None) {
            self.frame.enter(self.kernels, vector, length, &mut inside);
        }
        self.push_inside(row, &inside, 0.0, out);
        self.inside = inside;
    }

    /// Appends a row that is in the frame, and whose squared distance from anything is less than that of `inside` by `excess`.
    pub(crate) fn push_inside(&mut self, row: u64, inside: &[f32], excess: f32, out: &mut EncodedList) {
        let (op, scale) = (self.frame.op(), self.frame.scale());
        // Products say nothing of distances.
        let raised = if op == Op::L2 { -excess } else { 0.0 };
        match self.coder {
            Coder::None => out.push(row, &[], SignFactors::default()),
            Coder::Bits(bits) => {
                let coding = Coding { bits, op, scale };
                self.kernels.encode(&coding, inside, &self.centroid, 0.0, &mut self.coded);
                if raised != 0.0 {
                    self.coded.sign_factors = self.coded.sign_factors.raised(raised, scale);
                    self.coded.factors.add += raised;
                }
                out.push(row, &self.coded.signs, self.coded.sign_factors);
                if bits > 1 {
                    append_record(&self.coded, coding.extra_bits(), &mut out.records);
                }
            }
            Coder::Product(book) => {
                let mut factors = self.kernels.encode_product(book, op, inside, &self.centroid, 0.0, &mut self.product);
                factors.add += raised;
                book.spell(&self.product.code, &mut self.code);
                out.push(row, &self.code, factors.to_block_factors(scale));
            }
        }
    }
}

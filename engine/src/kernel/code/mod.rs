//! Codes: vectors in a few bits per component, with estimates of distances and of their errors.
//!
//! After Gao and Long, *RaBitQ* (<https://arxiv.org/abs/2405.12497>) and its multi-bit extension
//! (<https://arxiv.org/abs/2409.09913>). Everything lives in rotated, padded space: `o` a stored vector, `q` the query, `c` the
//! centroid of the list a vector is in, `r = o - c` its residual, `P` the padded dimension.
//!
//! A code of `B` bits per component stands for a direction `g` with half-integer components; its factor
//! `fr = |r|^2 / <r, g>` makes `fr * g` have the right inner product with `r`. With `k = 2` for L2 and `k = 1` for the inner
//! product, every estimate of a distance has the form
//!
//! ```text
//! estimate = F + base - k * fr * <q, g>          base: L2 |q - c|^2     inner product -<q, c> - <q, mean>
//! sigma    = k * fr * SIGMA[B] * |q - c|
//! ```
//!
//! with `F` computed once per entry so that `<c, g>` never needs to be known again (`residual`). That is why one table per query
//! (`query`) serves all lists. The sign bits of 32 entries stand side by side in a block (`sign_block`) and are scanned 32 at a
//! time (`scan`); the further bits of an entry stand together (`extra`), for the few entries the scan lets through.
//!
//! Bytes and factors are the same on every machine; so are the estimates, since nothing here is fused or reordered.

#[cfg(test)]
mod agreement;
pub mod extra;
#[cfg(test)]
mod golden;
pub mod product;
pub mod query;
pub mod residual;
pub mod row;
pub mod scan;
pub mod sign_block;
#[cfg(test)]
pub(in crate::kernel) mod tests;

/// Standard error of an estimate in units of `fr * |q - c|`, by bits per component (index 0 is unused): the spread of a
/// Gaussian residual around its code of best step, computed by `format-spec/oracle/sigma.py` at 128 to 768 components, over
/// which it changes by two percent.
pub const SIGMA: [f32; 9] = [f32::NAN, 0.3014, 0.323, 0.320, 0.310, 0.301, 0.295, 0.292, 0.290];

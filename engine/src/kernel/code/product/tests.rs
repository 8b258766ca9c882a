//! Books, codes and estimates, on every path.

use super::*;
use crate::kernel::Kernels;
use crate::kernel::code::scan::{ScanTurn, SignList, Survivors};
use crate::kernel::code::sign_block::{BLOCK, FACTOR_BYTES, block_bytes, put_factors, put_nibbles};
use crate::kernel::code::tests::{dot, every_path, squared, vectors};

fn train(kernels: &Kernels, parts: usize, size: usize, sample: &[Vec<f32>]) -> Codebook {
    let training = ProductTraining { parts, size, rounds: 4, seed: 1 };
    let dim = sample[0].len();
    let laid_out: Vec<f32> = sample.iter().flatten().copied().collect();
    let words = (0..parts).flat_map(|part| kernels.train_product(&training, &laid_out, dim, part)).collect();
    Codebook::new(dim, parts, size, words).expect("a book of the right size")
}

fn terms(op: Op, query: &[f32], centroid: &[f32]) -> ScanTerms {
    let reach = squared(query, centroid);
    let base = if op == Op::L2 { reach } else { -dot(query, centroid) };
    ScanTerms { op, base: base as f32, reach: reach.sqrt() as f32, scale: 1.0 }
}

#[test]
fn codes_of_any_width_come_back() {
    for (parts, size) in [(5, 16), (7, 32), (3, 128), (9, 256), (8, 512), (11, 1024)] {
        let book = Codebook::new(parts * 16, parts, size, vec![0.0; parts * 16 * size]).expect("a book");
        let code: Vec<u16> = (0..parts).map(|part| ((part * 7919 + 3) % size) as u16).collect();
        let mut packed = vec![0xEE];
        book.pack(&code, &mut packed);
        assert_eq!(packed.len(), 1 + book.code_bytes());
        let back: Vec<u16> = (0..parts).map(|part| book.unpack(&packed[1..], part) as u16).collect();
        assert_eq!(back, code);
    }
}

#[test]
fn books_of_a_wrong_shape_are_refused() {
    for (dim, parts, size, numbers) in
        [(8, 3, 16, 128), (8, 4, 20, 160), (8, 4, 2048, 16384), (8, 0, 16, 128), (8, 4, 16, 127)]
    {
        assert!(Codebook::new(dim, parts, size, vec![0.0; numbers]).is_none());
    }
}

#[test]
fn training_and_coding_are_the_same_on_every_path() {
    let sample = vectors(300, 64, 2);
    for (parts, size) in [(8, 16), (32, 64)] {
        let expected = train(Kernels::scalar(), parts, size, &sample);
        for kernels in every_path() {
            assert_eq!(train(kernels, parts, size, &sample), expected);
            let (mut a, mut b) = (ProductScratch::default(), ProductScratch::default());
            for vector in &sample[..40] {
                let x = kernels.encode_product(&expected, Op::L2, vector, &sample[41], 0.0, &mut a);
                let y = Kernels::scalar().encode_product(&expected, Op::L2, vector, &sample[41], 0.0, &mut b);
                assert_eq!((x, &a.code), (y, &b.code));
            }
        }
    }
}

#[test]
fn every_part_gets_its_nearest_codeword() {
    let sample = vectors(200, 64, 5);
    let book = train(crate::kernel::kernels(), 16, 32, &sample);
    let mut scratch = ProductScratch::default();
    for vector in &sample[..20] {
        crate::kernel::kernels().encode_product(&book, Op::L2, vector, &[0.0; 64], 0.0, &mut scratch);
        for (part, word) in scratch.code.iter().enumerate() {
            let distance = |word: usize| -> f64 {
                let values = book.book(part).chunks_exact(32).map(|row| row[word]);
                vector[part * 4..].iter().zip(values).map(|(x, y)| f64::from(x - y).powi(2)).sum()
            };
            assert!((0..32).all(|other| distance(usize::from(*word)) <= distance(other) + 1e-6));
        }
    }
}

#[test]
fn a_vector_whose_parts_are_codewords_is_coded_without_error() {
    let few = vectors(10, 64, 6);
    let book = train(crate::kernel::kernels(), 8, 16, &few);
    let (query, centroid) = (&vectors(1, 64, 7)[0], vec![0.0; 64]);
    let mut tables = ProductTables::new();
    crate::kernel::kernels().prepare_product(&book, query, &mut tables);
    let terms = terms(Op::L2, query, &centroid);
    let mut scratch = ProductScratch::default();
    for vector in &few {
        let factors = crate::kernel::kernels().encode_product(&book, Op::L2, vector, &centroid, 0.0, &mut scratch);
        let mut packed = Vec::new();
        book.pack(&scratch.code, &mut packed);
        let estimate = f64::from(tables.estimate(&book, &terms, &packed, &factors));
        assert!((estimate - squared(query, vector)).abs() < 2e-2 * estimate, "a book of sixteen words holds ten");
        assert!(factors.sigma(&terms) < 0.1);
    }
}

#[test]
fn estimates_are_centred_and_their_errors_are_as_told() {
    for (op, parts, size) in [(Op::L2, 32, 16), (Op::Dot, 16, 256), (Op::L2, 64, 64)] {
        let sample = vectors(1200, 128, 8);
        let book = train(crate::kernel::kernels(), parts, size, &sample);
        let (mut sum, mut square, mut n) = (0.0, 0.0, 0.0);
        let mut scratch = ProductScratch::default();
        for seed in 100..130 {
            let all = vectors(42, 128, seed);
            let (centroid, query) = (&all[0], &all[1]);
            let mut tables = ProductTables::new();
            crate::kernel::kernels().prepare_product(&book, query, &mut tables);
            let terms = terms(op, query, centroid);
            for residual in &all[2..] {
                let vector: Vec<f32> = residual.iter().zip(centroid).map(|(r, c)| r + c).collect();
                let kernels = crate::kernel::kernels();
                let factors = kernels.encode_product(&book, op, &vector, centroid, 0.25, &mut scratch);
                let mut packed = Vec::new();
                book.pack(&scratch.code, &mut packed);
                let exact = match op {
                    Op::L2 => squared(query, &vector),
                    Op::Dot => -(dot(query, &vector) + 0.25),
                };
                let estimate = f64::from(tables.estimate(&book, &terms, &packed, &factors));
                let z = (estimate - exact) / f64::from(factors.sigma(&terms));
                (sum, square, n) = (sum + z, square + z * z, n + 1.0);
            }
        }
        let deviation = (square / n - (sum / n) * (sum / n)).sqrt();
        assert!((sum / n).abs() < 0.12, "{parts} x {size}: mean {}", sum / n);
        assert!((0.9..1.1).contains(&deviation), "{parts} x {size}: deviation {deviation}");
    }
}

#[test]
fn the_block_scan_of_sixteen_word_books_agrees_with_the_tables() {
    let sample = vectors(400, 192, 10);
    let book = train(crate::kernel::kernels(), 24, 16, &sample);
    let (query, centroid) = (&sample[0], &sample[1]);
    let mut tables = ProductTables::new();
    crate::kernel::kernels().prepare_product(&book, query, &mut tables);
    let mut scratch = ProductScratch::default();
    let coded: Vec<(Vec<u16>, ProductFactors)> = sample[2..42]
        .iter()
        .map(|x| {
            let kernels = crate::kernel::kernels();
            let factors = kernels.encode_product(&book, Op::L2, x, centroid, 0.0, &mut scratch);
            (scratch.code.clone(), factors)
        })
        .collect();
    let blocks = tables.to_block_tables(error_ratio(coded.iter().map(|(_, factors)| factors)));
    let (mut codes, mut factors) = (vec![0; 2 * block_bytes(blocks.padded_dim())], vec![0; 2 * FACTOR_BYTES]);
    for (i, (code, entry)) in coded.iter().enumerate() {
        let block = &mut codes[i / BLOCK * block_bytes(blocks.padded_dim())..];
        put_nibbles(block, i % BLOCK, code.iter().map(|word| *word as u8));
        let words = entry.to_block_factors(1.0);
        put_factors(&mut factors.as_chunks_mut::<FACTOR_BYTES>().0[i / BLOCK], i % BLOCK, words);
    }
    let terms = terms(Op::L2, query, centroid);
    let list = SignList { codes: &codes, factors: &factors, count: coded.len() };
    for kernels in every_path() {
        let mut found = Survivors::new();
        kernels.scan(&blocks, &list, &terms, 0.0, f32::INFINITY, &[], &mut found);
        for ((code, entry), estimate) in coded.iter().zip(found.bounds()) {
            let mut packed = Vec::new();
            book.pack(code, &mut packed);
            let expected = tables.estimate(&book, &terms, &packed, entry);
            let tolerance = 0.3 * entry.sigma(&terms) + expected / 1024.0;
            assert!((estimate - expected).abs() < tolerance, "{estimate} instead of {expected}");
        }
    }
}

/// Lists of columns, of any number of entries, parts and codewords: each path finds the same entries, places and sums, and the estimates are
/// those of the tables, but for the rounding of bytes.
#[test]
fn columns_are_scanned_alike_on_every_path() {
    for (dim, parts, size) in [(64, 1, 256), (48, 3, 64), (96, 48, 256), (320, 320, 32), (64, 16, 512)] {
        let sample = vectors(110, dim, (dim + size) as u64);
        let words = (0..dim * size).map(|i| sample[i % 100][i / 100 % dim]).collect();
        let book = Codebook::new(dim, parts, size, words).expect("a book");
        let (query, centroid) = (&sample[0], &sample[1]);
        let mut tables = ProductTables::new();
        Kernels::scalar().prepare_product(&book, query, &mut tables);
        let mut scratch = ProductScratch::default();
        let width = book.number_bytes();
        let bytes = (parts * width * BLOCK).next_multiple_of(COLUMN);
        let (mut codes, mut factors) = (vec![0; 4 * bytes], vec![0; 4 * FACTOR_BYTES]);
        let mut expected = Vec::new();
        let terms = terms(Op::L2, query, centroid);
        for (i, x) in sample[2..110].iter().enumerate() {
            let made = Kernels::scalar().encode_product(&book, Op::L2, x, centroid, 0.0, &mut scratch);
            let mut spelled = Vec::new();
            book.spell(&scratch.code, &mut spelled);
            put_numbers(&mut codes[i / BLOCK * bytes..][..bytes], i % BLOCK, width, &spelled);
            let mut back = Vec::new();
            take_numbers(&codes[i / BLOCK * bytes..][..bytes], i % BLOCK, parts, width, &mut back);
            assert_eq!(back, spelled);
            let block = &mut factors.as_chunks_mut::<FACTOR_BYTES>().0[i / BLOCK];
            put_factors(block, i % BLOCK, made.to_block_factors(1.0));
            let mut packed = Vec::new();
            book.pack(&scratch.code, &mut packed);
            expected.push((tables.estimate(&book, &terms, &packed, &made), made.sigma(&terms)));
        }
        for count in [0, 1, 31, 32, 33, 64, 65, 108] {
            let list = SignList { codes: &codes, factors: &factors, count };
            let of = |kernels: &Kernels, threshold: f32| {
                let mut tables = ProductTables::new();
                kernels.prepare_product(&book, query, &mut tables);
                let mut found = Survivors::new();
                let turn = ScanTurn { list, terms, ahead: &[] };
                kernels.scan_columns(&tables, &[turn, turn], threshold, &mut found);
                let bounds: Vec<u32> = found.bounds().iter().map(|bound| bound.to_bits()).collect();
                (found.positions().to_vec(), bounds, found.sums().to_vec())
            };
            for threshold in [f32::INFINITY, expected[0].0, expected[50].0] {
                let plain = of(Kernels::scalar(), threshold);
                assert!(threshold < f32::INFINITY || plain.0.len() == 2 * count);
                for kernels in every_path() {
                    assert_eq!(of(kernels, threshold), plain, "{parts} x {size}, {count} on {:?}", kernels.path());
                }
            }
            let all = of(Kernels::scalar(), f32::INFINITY);
            for ((estimate, sigma), bits) in expected.iter().zip(all.1.iter().take(count)) {
                let got = f32::from_bits(*bits);
                let tolerance = 0.3 * sigma + estimate.abs() / 512.0;
                assert!((got - estimate).abs() <= tolerance, "{parts} x {size}: {got} instead of {estimate}");
            }
        }
    }
}

//! Arrays good and bad.

use half::f16;

use super::header::MAGIC;
use super::*;

fn npy(dict: &str, data: &[u8]) -> Vec<u8> {
    let mut out = [&MAGIC[..], &[1, 0], &(dict.len() as u16).to_le_bytes(), dict.as_bytes()].concat();
    out.extend(data);
    out
}

fn dict(descr: &str, shape: &str) -> String {
    format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}          \n")
}

fn read_all(bytes: Vec<u8>) -> Result<Vec<Vec<f32>>, ImportError> {
    let mut source = NpySource::new(Input::from_bytes("a.npy", bytes))?;
    let (mut record, mut out) = (Record::default(), Vec::new());
    while source.read(&mut record)? {
        out.push(record.vector.clone());
    }
    Ok(out)
}

fn error(bytes: Vec<u8>) -> String {
    read_all(bytes).unwrap_err().to_string()
}

#[test]
fn every_element_type_comes_back() {
    let values = [1.5f32, -2.0];
    let f2: Vec<u8> = values.iter().flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect();
    let f4: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    let f8: Vec<u8> = values.iter().flat_map(|x| f64::from(*x).to_le_bytes()).collect();
    for (descr, data) in [("<f2", f2), ("<f4", f4), ("<f8", f8)] {
        assert_eq!(read_all(npy(&dict(descr, "(1, 2)"), &data)).unwrap(), [values], "{descr}");
    }
    assert_eq!(read_all(npy(&dict("|u1", "(2, 1)"), &[3, 255])).unwrap(), [[3.0], [255.0]]);
    assert_eq!(read_all(npy(&dict("|i1", "(2, 1)"), &[3, 255])).unwrap(), [[3.0], [-1.0]]);
}

#[test]
fn integers_keep_sign_and_width() {
    let data: Vec<u8> = [-1i32, i32::MAX].iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut integers = Integers::new(Input::from_bytes("i.npy", npy(&dict("<i4", "(2,)"), &data))).unwrap();
    assert_eq!(integers.next_integer().unwrap(), Some(-1));
    assert_eq!(integers.next_integer().unwrap(), Some(i32::MAX.into()));
    assert_eq!(integers.next_integer().unwrap(), None);
    let data = u64::MAX.to_le_bytes();
    let mut integers = Integers::new(Input::from_bytes("i.npy", npy(&dict("<u8", "(1,)"), &data))).unwrap();
    assert_eq!(integers.next_integer().unwrap(), Some(u64::MAX.into()));
}

#[test]
fn arrays_that_are_not_taken_say_what_to_do() {
    let bytes = npy("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2)}", &[0; 8]);
    let refused = read_all(bytes).unwrap_err();
    assert!(refused.message.contains("Fortran order"), "{refused}");
    assert!(refused.hint.unwrap().contains("ascontiguousarray"));
    assert!(error(npy(&dict(">f4", "(1, 2)"), &[0; 8])).contains("\">f4\" are not taken"));
    assert!(error(npy(&dict("<f4", "(2,)"), &[0; 8])).contains("has 1 axes; 2 are needed"));
    assert!(error(npy(&dict("<i8", "(1, 1)"), &[0; 8])).contains("wide integers"));
}

#[test]
fn a_shape_larger_than_the_file_costs_nothing_and_is_refused() {
    assert!(error(npy(&dict("<f4", "(4000000000, 384)"), &[0; 8])).contains("room for"));
    assert!(error(npy(&dict("<f4", "(4294967296, 4294967296)"), &[0; 8])).contains("larger than any file"));
    assert!(error(npy(&dict("<f4", "(99999999999999999999999, 2)"), &[])).contains("no tuple of sizes"));
}

#[test]
fn broken_headers_are_refused_with_their_offset() {
    assert_eq!(
        error(b"PK\x03\x04....".to_vec()),
        "a.npy: offset 0: is not an npy file: the first bytes are not \\x93NUMPY"
    );
    assert!(error(npy("{'descr': <f4}", &[])).starts_with("a.npy: offset 20:"));
    assert!(error(npy("{'descr': '<f4', 'shape': (1,1)}", &[])).contains("lacks descr, fortran_order or shape"));
    assert!(error(npy("{", &[])).contains("offset 11"));
    let mut long = MAGIC.to_vec();
    long.extend([2, 0, 255, 255, 255, 255]);
    assert!(error(long).contains("at most 65536 are read"));
}

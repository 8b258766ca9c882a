//! Arguments that have a range: taken if they are in it; if not, refused by name, and told the range.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use pyo3::exceptions::{PyOverflowError, PyTypeError, PyUnicodeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyString};

use crate::error::refuse;

/// A whole number; `True` is none.
pub fn whole(given: &Bound<'_, PyAny>, name: &str, least: u64, most: u64) -> PyResult<u64> {
    match given.extract::<u64>() {
        Ok(number) if (least..=most).contains(&number) && !given.is_instance_of::<PyBool>() => Ok(number),
        _ => Err(no_whole(given, name, least, most)),
    }
}

#[cold]
fn no_whole(given: &Bound<'_, PyAny>, name: &str, least: u64, most: u64) -> PyErr {
    match given.call_method0("__index__") {
        Ok(_) if !given.is_instance_of::<PyBool>() => {
            refuse(given.py(), name, format!("is {}; use {least}..={most}", figure(given)))
        }
        _ => wrong_type(given, name, "an int"),
    }
}

/// A number as it is written. Python refuses to write very long ones.
fn figure(given: &Bound<'_, PyAny>) -> String {
    given.str().map_or_else(|_| "of thousands of digits".to_owned(), |text| text.to_string_lossy().into_owned())
}

/// `TypeError` that tells what would have been right.
pub fn wrong_type(given: &Bound<'_, PyAny>, name: &str, wanted: &str) -> PyErr {
    match given.get_type().name() {
        Ok(kind) => PyTypeError::new_err(format!("{name} is of type {kind}; use {wanted}")),
        Err(error) => error,
    }
}

/// `True` or `False`.
pub fn flag(given: &Bound<'_, PyAny>, name: &str) -> PyResult<bool> {
    given.extract::<bool>().map_err(|_| wrong_type(given, name, "True or False"))
}

/// A word.
pub fn word<'a>(given: &'a Bound<'_, PyAny>, name: &str) -> PyResult<Cow<'a, str>> {
    match given.cast::<PyString>() {
        Ok(word) => text(word, name),
        Err(_) => Err(wrong_type(given, name, "a str")),
    }
}

/// A number of any kind; what is beyond 64-bit floats is infinite.
pub fn number(given: &Bound<'_, PyAny>, name: &str) -> PyResult<f64> {
    if let Ok(float) = given.cast::<PyFloat>() {
        return Ok(float.value());
    }
    if given.is_instance_of::<PyBool>() || given.is_instance_of::<PyString>() {
        return Err(wrong_type(given, name, "a number"));
    }
    match given.extract::<f64>() {
        Ok(number) => Ok(number),
        Err(error) if error.is_instance_of::<PyOverflowError>(given.py()) => Ok(match given.lt(0)? {
            true => f64::NEG_INFINITY,
            false => f64::INFINITY,
        }),
        Err(_) => Err(wrong_type(given, name, "a number")),
    }
}

macro_rules! wholes {
    ($($name:ident: $kind:ty = $least:expr, $most:expr;)*) => { $(
        /// The argument of this name.
        pub fn $name(given: &Bound<'_, PyAny>) -> PyResult<$kind> {
            whole(given, stringify!($name), $least, $most as u64).map(|number| number as $kind)
        }
    )* };
}

macro_rules! flags {
    ($($name:ident),*) => { $(
        /// The argument of this name.
        pub fn $name(given: &Bound<'_, PyAny>) -> PyResult<bool> {
            flag(given, stringify!($name))
        }
    )* };
}

macro_rules! perhaps {
    ($($name:ident: $kind:ty = $read:expr;)*) => { $(
        /// The argument of this name, if there is one.
        pub fn $name(given: &Bound<'_, PyAny>) -> PyResult<Option<$kind>> {
            let read: fn(&Bound<'_, PyAny>, &str) -> PyResult<$kind> = $read;
            if given.is_none() { Ok(None) } else { read(given, stringify!($name)).map(Some) }
        }
    )* };
}

wholes! {
    k: usize = 1, usize::MAX;
    threads: usize = 1, 1024;
    seq: u64 = 0, u64::MAX;
}

flags!(exact, dry_run);

perhaps! {
    durability: String = |given, name| word(given, name).map(Cow::into_owned);
    access: String = |given, name| word(given, name).map(Cow::into_owned);
    nprobe: usize = one_or_more;
    patience: usize = one_or_more;
    candidates: usize = one_or_more;
    recall: f32 = part;
    confidence: f32 = part;
    max_distance: f32 = distance;
    deadline: Duration = time;
}

fn one_or_more(given: &Bound<'_, PyAny>, name: &str) -> PyResult<usize> {
    whole(given, name, 1, usize::MAX as u64).map(|number| number as usize)
}

fn part(given: &Bound<'_, PyAny>, name: &str) -> PyResult<f32> {
    match number(given, name)? as f32 {
        part if part > 0.0 && part <= 1.0 => Ok(part),
        _ => Err(refuse(given.py(), name, format!("is {}; use a number above 0, at most 1", figure(given)))),
    }
}

fn distance(given: &Bound<'_, PyAny>, name: &str) -> PyResult<f32> {
    match number(given, name)? as f32 {
        distance if distance.is_nan() => Err(refuse(given.py(), name, "is NaN; use a number")),
        distance => Ok(distance),
    }
}

fn time(given: &Bound<'_, PyAny>, name: &str) -> PyResult<Duration> {
    Duration::try_from_secs_f64(number(given, name)?)
        .map_err(|_| refuse(given.py(), name, format!("is {}; use seconds, 0..=1.8e19", figure(given))))
}

/// A place in a sequence: as in Python's own, what is beyond all sequences is their end.
pub fn place(given: &Bound<'_, PyAny>) -> PyResult<isize> {
    match given.extract::<isize>() {
        Ok(place) => Ok(place),
        Err(error) if error.is_instance_of::<PyOverflowError>(given.py()) => Ok(match given.lt(0)? {
            true => isize::MIN,
            false => isize::MAX,
        }),
        Err(error) => Err(error),
    }
}

/// A path: of text, of bytes, or of what has a path.
pub fn path(given: &Bound<'_, PyAny>) -> PyResult<PathBuf> {
    let py = given.py();
    let bytes = given.py().import("os")?.getattr("fsencode")?.call1((given,)).map_err(|error| match error
        .is_instance_of::<PyUnicodeError>(py)
    {
        true => refuse(py, "path", format!("is {}, which no file can be called", shown(given))),
        false => error,
    })?;
    let bytes = bytes.cast::<PyBytes>()?.as_bytes();
    match bytes.contains(&0) {
        true => Err(refuse(py, "path", format!("is {}, which holds a zero byte", shown(given)))),
        false => Ok(PathBuf::from(OsString::from_vec(bytes.to_vec()))),
    }
}

/// Text as UTF-8.
pub fn text<'a>(given: &'a Bound<'_, PyString>, name: &str) -> PyResult<Cow<'a, str>> {
    given.to_cow().map_err(|_| {
        let what = format!("is {}, which is no Unicode text: it holds half of a surrogate pair", shown(given.as_any()));
        refuse(given.py(), name, what)
    })
}

/// A value as Python writes it, without anything that cannot be printed.
fn shown(given: &Bound<'_, PyAny>) -> String {
    given.repr().map_or_else(|_| "unprintable".to_owned(), |text| text.to_string_lossy().into_owned())
}

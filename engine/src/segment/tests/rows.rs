use super::bytes_dir::BytesDir;
use super::sample::*;
use crate::error::{ErrorKind, Result};
use crate::id::{Id, IdKind};
use crate::kernel::encode_row;
use crate::metric::{Element, Metric};
use crate::segment::{RowFile, RowInput, RowLayout, RowSource, write_row_file};

fn check_all(rows: &Rows) {
    let dir = BytesDir::default();
    let facts = rows.write(&dir).unwrap();
    let file = rows.open(&dir, &facts).unwrap();
    assert_eq!(file.len(), rows.rows.len());
    assert_eq!((file.first_row(), file.last_row()), (rows.rows[0].row, rows.rows.last().unwrap().row));
    let all = file.records(0..file.len()).unwrap();
    for (i, row) in rows.rows.iter().enumerate() {
        let read = Row {
            row: file.row_number(i).unwrap(),
            seq: file.seq(i).unwrap(),
            id: file.id(i).unwrap(),
            vector: all.vector(i).bytes.to_vec(),
            norm: all.norm(i),
            attributes: file.attributes(i).unwrap(),
            payload: file.payload(i).unwrap(),
        };
        assert_eq!(&read, row);
        assert_eq!(file.ordinal(row.row).unwrap(), Some(i));
        assert_eq!(file.has_vectors(), !row.vector.is_empty());
        assert_eq!(&all.bytes()[i * file.stride()..][..row.vector.len()], &row.vector[..]);
        let one = file.records(i..i + 1).unwrap().into_first();
        assert_eq!((&one.bytes[..], one.length), (&row.vector[..], row.norm));
    }
}

/// [ROW-5] [ROW-11]
#[test]
fn rows_of_every_layout_come_back() {
    for element in Element::ALL.into_iter().map(Some).chain([None]) {
        for metric in [Metric::L2, Metric::Cosine] {
            for ids in [IdKind::U64, IdKind::Bytes] {
                for (dim, rich) in [(1, true), (5, false), (96, true)] {
                    check_all(&Rows::new(RowLayout { dim, element, metric, ids }, 10..80, rich));
                }
            }
        }
    }
}

/// Rows of these vectors, each `from` what it says.
struct Given<'a>(&'a [(Element, Vec<f32>)]);

impl RowSource for Given<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn visit(&self, i: usize, take: &mut dyn FnMut(RowInput<'_>) -> Result<()>) -> Result<()> {
        let (element, values) = &self.0[i];
        let mut vector = Vec::new();
        encode_row(*element, values, &mut vector);
        let (row, id, element) = (i as u64, Id::U64(i as u64), *element);
        take(RowInput {
            row,
            seq: 1,
            id: id.as_ref(),
            vector: &vector,
            element,
            norm: 0.0,
            attributes: &[],
            payload: &[],
        })
    }
}

/// What a file of these vectors has them as, in a collection of `own`; and they come back from it to the bit.
fn narrowed(own: Element, rows: &[(Element, Vec<f32>)]) -> Element {
    let dir = BytesDir::default();
    let layout = layout(rows[0].1.len(), own, Metric::L2, IdKind::U64);
    let file = write_row_file(&dir, FILE, COLLECTION, ORIGIN, &layout, &Given(rows)).unwrap();
    let (all, mut back) = (file.records(0..rows.len()).unwrap(), vec![0.0; layout.dim]);
    for (i, (_, values)) in rows.iter().enumerate() {
        all.vector(i).decode(&mut back);
        let bits = |vector: &[f32]| vector.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back), bits(values), "row {i}");
    }
    let element = file.element().unwrap();
    assert_eq!(file.stride(), element.vector_bytes(layout.dim).next_multiple_of(8) + 16);
    // Whoever expects another layout does not get at them.
    let wrong = if element == own { Element::U8 } else { own };
    let wrong = RowLayout { element: Some(wrong), ..layout };
    let opened = RowFile::open(&dir, FILE, COLLECTION, ORIGIN, &wrong, &file.facts());
    assert_eq!(opened.map(drop).unwrap_err().kind(), ErrorKind::Corrupt);
    element
}

/// [ROW-12]
#[test]
fn a_file_has_the_shortest_components_that_hold_all_its_vectors() {
    let (bytes, halves, brains) =
        (vec![0.0, 255.0, 7.0], vec![0.5, -3.0, 2047.0], vec![-(2.0_f32.powi(100)), 0.0, 3.0]);
    let (floats, both) = (vec![0.1, 0.0, 0.0], vec![-1.0, 0.5, 0.0]);
    let of = |own, vectors: &[&Vec<f32>]| {
        narrowed(own, &vectors.iter().map(|vector| (own, (*vector).clone())).collect::<Vec<_>>())
    };
    use Element::{Bf16, F16, F32, U8};
    assert_eq!(of(F32, &[&bytes, &bytes]), U8);
    assert_eq!(of(F32, &[&bytes, &halves, &bytes]), F16);
    assert_eq!(of(F32, &[&brains, &bytes]), Bf16);
    assert_eq!(of(F32, &[&both, &bytes]), F16, "both hold it, and one is first");
    assert_eq!(of(F32, &[&both, &brains]), Bf16);
    assert_eq!(of(F32, &[&halves, &brains]), F32, "each is held by another");
    assert_eq!(of(F32, &[&bytes, &bytes, &floats]), F32);
    assert_eq!((of(F16, &[&bytes]), of(F16, &[&halves, &bytes])), (U8, F16));
    assert_eq!((of(Bf16, &[&bytes]), of(Bf16, &[&brains])), (U8, Bf16));
    // Rows of files that were shorter, or of some that were not and could have been.
    let mixed = |rows: &[(Element, &Vec<f32>)]| {
        narrowed(F32, &rows.iter().map(|(element, vector)| (*element, (*vector).clone())).collect::<Vec<_>>())
    };
    assert_eq!(mixed(&[(U8, &bytes), (F32, &floats), (F16, &halves)]), F32);
    assert_eq!(mixed(&[(U8, &bytes), (F16, &bytes), (F32, &bytes), (Bf16, &bytes)]), U8);
    assert_eq!(mixed(&[(U8, &bytes), (F16, &both), (Bf16, &both)]), F16);
    assert_eq!(mixed(&[(F16, &both), (Bf16, &brains)]), Bf16);
}

/// What a file cannot have came from another collection.
#[test]
fn rows_of_other_components_than_a_collection_has_are_refused() {
    for (own, other) in [(Element::F16, Element::F32), (Element::Bf16, Element::F16), (Element::I8, Element::U8)] {
        let rows = [(other, vec![1.0, 2.0])];
        let layout = layout(2, own, Metric::L2, IdKind::U64);
        let written = write_row_file(&BytesDir::default(), FILE, COLLECTION, ORIGIN, &layout, &Given(&rows));
        assert_eq!(written.map(drop).unwrap_err().argument_name(), Some("rows"));
    }
}

/// [ROW-4]
#[test]
fn runs_holes_and_far_pages_keep_their_row_numbers() {
    let mut draw = Draw(1);
    let holes: Vec<u64> = (0..30_000).filter(|_| draw.below(3) > 0).collect();
    for numbers in [
        vec![0],
        vec![4095],
        vec![4095, 4096],
        vec![0, 4095],
        (4000..9000).collect(),
        (0..5000).filter(|row| row % 2 == 0).collect(),
        holes,
        vec![3, 1 << 40, (1 << 40) + 2, (1 << 40) + 3, u64::MAX - 1, u64::MAX],
    ] {
        let rows = Rows::new(layout(2, Element::F32, Metric::L2, IdKind::U64), numbers.iter().copied(), false);
        check_all(&rows);
        let dir = BytesDir::default();
        let facts = rows.write(&dir).unwrap();
        let file = rows.open(&dir, &facts).unwrap();
        let absent = numbers.iter().flat_map(|row| [row.wrapping_add(1), row.wrapping_sub(1)]);
        for row in absent.filter(|row| numbers.binary_search(row).is_err()) {
            assert_eq!(file.ordinal(row).unwrap(), None, "row {row}");
        }
        assert!(file.row_number(numbers.len()).is_err());
    }
}

/// [ROW-8]
#[test]
fn long_columns_cross_units_and_blocks() {
    let rows = Rows::new(layout(4, Element::F32, Metric::L2, IdKind::Bytes), 0..5_000, true);
    check_all(&rows);
}

/// [ROW-7] [ROW-9]
#[test]
fn the_largest_row_comes_back() {
    let mut rows = Rows::new(layout(2, Element::F32, Metric::L2, IdKind::Bytes), 0..4, true);
    let mut draw = Draw(9);
    rows.rows[1].payload = (0..64 << 10).map(|_| draw.next() as u8).collect();
    rows.rows[2].payload = vec![7; 64 << 10];
    rows.rows[2].id = Id::from(vec![0xFE; 512]);
    check_all(&rows);
}

/// [FRAME-5] [ROW-2]
#[test]
fn columns_without_content_take_no_section() {
    let dir = BytesDir::default();
    let rows = Rows::new(layout(4, Element::F32, Metric::L2, IdKind::U64), 0..100, false);
    let facts = rows.write(&dir).unwrap();
    let file = rows.open(&dir, &facts).unwrap();
    let names: Vec<&str> = file.sections().map(|(name, _)| name).collect();
    assert_eq!(names, ["pages", "vectors"]);
    assert_eq!((file.attributes(3).unwrap(), file.payload(3).unwrap()), (vec![], vec![]));
}

#[test]
fn texts_shrink_and_noise_costs_little() {
    let mut rows = Rows::new(layout(1, Element::F32, Metric::L2, IdKind::U64), 0..2_000, false);
    let mut draw = Draw(3);
    let stored = |rows: &Rows| {
        let dir = BytesDir::default();
        let facts = rows.write(&dir).unwrap();
        let file = rows.open(&dir, &facts).unwrap();
        file.sections().find(|(name, _)| *name == "payload-blocks").unwrap().1
    };
    rows.rows
        .iter_mut()
        .for_each(|row| row.payload = format!("{{\"title\": \"page {}\", \"lang\": \"en\"}}", row.row).into());
    let raw: u64 = rows.rows.iter().map(|row| row.payload.len() as u64).sum();
    assert!(stored(&rows) < raw / 2);
    rows.rows.iter_mut().for_each(|row| row.payload = (0..200).map(|_| draw.next() as u8).collect());
    assert!(stored(&rows) < 400_000 + 400_000 / 500);
}

/// [ROW-3]
#[test]
fn the_same_rows_make_the_same_bytes() {
    let rows = Rows::new(SMALL, (0..3_000).filter(|row| row % 7 != 0), true);
    let (a, b) = (BytesDir::default(), BytesDir::default());
    assert_eq!(rows.write(&a).unwrap(), rows.write(&b).unwrap());
    assert!(a.bytes(ROW_NAME) == b.bytes(ROW_NAME));
}

#[test]
fn a_padded_vector_is_the_same_as_one_without_padding() {
    let rows = Rows::new(layout(3, Element::F16, Metric::L2, IdKind::U64), 0..9, false);
    let mut padded = rows.clone();
    padded.rows.iter_mut().for_each(|row| row.vector.resize(8, 0));
    let (a, b) = (BytesDir::default(), BytesDir::default());
    rows.write(&a).unwrap();
    padded.write(&b).unwrap();
    assert!(a.bytes(ROW_NAME) == b.bytes(ROW_NAME));
}

/// [ROW-1]
#[test]
fn rows_that_cannot_be_stored_are_refused_and_leave_no_file() {
    let good = Rows::new(SMALL, 0..3, true);
    let broken: [fn(&mut Rows); 8] = [
        |rows| rows.rows.clear(),
        |rows| rows.rows.swap(0, 1),
        |rows| rows.rows[1].row = 0,
        |rows| rows.rows[1].vector.truncate(11),
        |rows| rows.rows[1].vector.push(1),
        |rows| rows.rows[1].norm = 0.0,
        |rows| rows.rows[1].id = Id::U64(4),
        |rows| rows.rows[1].payload = vec![0; (64 << 10) + 1],
    ];
    for (i, break_it) in broken.iter().enumerate() {
        let mut rows = good.clone();
        break_it(&mut rows);
        let dir = BytesDir::default();
        assert_eq!(rows.write(&dir).unwrap_err().kind(), ErrorKind::InvalidArgument, "case {i}");
        assert!(dir.names().is_empty());
    }
}

/// Fails in the second pass, when the file is half written.
struct FailsLater(Rows, std::cell::Cell<usize>);

impl RowSource for FailsLater {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn visit(&self, i: usize, take: &mut dyn FnMut(RowInput<'_>) -> Result<()>) -> Result<()> {
        self.1.set(self.1.get() + 1);
        match self.1.get() > self.len() + 5 {
            true => Err(crate::Error::new(ErrorKind::Cancelled, "stopped")),
            false => self.0.visit(i, take),
        }
    }
}

#[test]
fn a_source_that_fails_leaves_no_file() {
    let dir = BytesDir::default();
    let source = FailsLater(Rows::new(SMALL, 0..50, true), Default::default());
    let outcome = crate::segment::write_row_file(&dir, FILE, COLLECTION, ORIGIN, &SMALL, &source);
    assert_eq!(outcome.err().unwrap().kind(), ErrorKind::Cancelled);
    assert!(dir.names().is_empty());
}

/// [ROW-6]
#[test]
fn damage_to_a_vector_is_found_at_its_first_touch_and_only_there() {
    let dir = BytesDir::default();
    let rows = Rows::new(layout(16, Element::F32, Metric::L2, IdKind::U64), 0..300, false);
    let facts = rows.write(&dir).unwrap();
    let mut bytes = dir.bytes(ROW_NAME);
    let vectors = 64 * 1024 * usize::from(bytes.len() > 65_536) + 4096 * usize::from(bytes.len() <= 65_536);
    let stride = rows.layout.stride();
    bytes[vectors + 130 * stride + 9] ^= 1;
    dir.put(ROW_NAME, bytes);
    let file = rows.open(&dir, &facts).unwrap();
    file.records(0..130).unwrap();
    file.records(131..300).unwrap();
    let error = file.records(100..140).err().unwrap();
    assert_eq!((error.kind(), error.section()), (ErrorKind::Corrupt, Some("vectors")));
    assert_eq!(error.offset(), Some((vectors + 130 * stride) as u64));
    assert!(file.id(130).is_err() && file.id(131).is_ok());
    assert!(file.records(299..301).is_err());
}

/// [FRAME-1]
#[test]
fn another_collection_origin_layout_or_file_is_refused() {
    let dir = BytesDir::default();
    let rows = Rows::new(SMALL, 0..9, true);
    let facts = rows.write(&dir).unwrap();
    let open = |collection, origin, layout: &_| {
        crate::segment::RowFile::open(&dir, FILE, collection, origin, layout, &facts).map(drop)
    };
    assert!(open(COLLECTION, ORIGIN, &SMALL).is_ok());
    let other_metric = layout(3, Element::F32, Metric::L2, IdKind::Bytes);
    for outcome in [open(1, ORIGIN, &SMALL), open(COLLECTION, 1, &SMALL), open(COLLECTION, ORIGIN, &other_metric)] {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Corrupt);
    }
    let other = crate::storage::FileId { number: 8, epoch: 99 };
    dir.put(crate::storage::FileName::File(crate::storage::FileKind::Row, other), dir.bytes(ROW_NAME));
    let swapped = crate::segment::RowFile::open(&dir, other, COLLECTION, ORIGIN, &SMALL, &facts);
    assert!(swapped.err().unwrap().to_string().contains("wanted"));
    let mut stale = facts;
    stale.root ^= 1;
    assert!(rows.open(&dir, &stale).is_err());
}

#[test]
fn a_file_that_was_just_written_is_proven_and_one_that_is_opened_is_not() {
    let dir = BytesDir::default();
    let rows = Rows::new(SMALL, 0..100, true);
    let written = crate::segment::write_row_file(&dir, FILE, COLLECTION, ORIGIN, &SMALL, &rows).unwrap();
    let opened = rows.open(&dir, &written.facts()).unwrap();
    let proven = |file: &crate::segment::RowFile| {
        let units = file.seqs.as_ref().map_or(0, |seqs| seqs.proven_units());
        ((0..100).filter(|row| file.proven.has(*row)).count(), units)
    };
    assert_eq!((proven(&written), proven(&opened)), ((100, 1), (0, 0)));
}

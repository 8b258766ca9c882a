//! Files that lie with all their checksums right: whatever they say, every call returns, soon and in little memory.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use stratavec::storage::FileKind;
use stratavec_fuzz_targets::fixture::{Fixture, all, lists, product, uncoded};
use stratavec_fuzz_targets::layout::{Place, places};
use stratavec_fuzz_targets::reading::{Reading, read_everything};
use stratavec_fuzz_targets::seal::{Files, dir_of, put, seal_all};

use crate::draw::Draw;
use crate::heap::peak_of;
use crate::subject::on_both_cores;

const MOST_HEAP: usize = 64 << 20;
/// A thousand times what a case takes alone: a busy machine is no broken promise, work without bounds is.
const MOST_TIME: Duration = Duration::from_secs(20);

/// What a run of cases came to.
#[derive(Default)]
struct Run {
    cases: usize,
    sound: usize,
    opened: usize,
    refused: usize,
    peak: usize,
    slowest: Duration,
    /// Broken promises by their text, with the first case of each.
    broken: BTreeMap<String, String>,
}

impl Run {
    /// Reads a forged directory in every way, under the gates.
    fn read(&mut self, fixture: &Fixture, files: &Files, what: &dyn Fn() -> String) {
        let dir = dir_of(files);
        let start = Instant::now();
        let (outcome, peak) = peak_of(|| catch_unwind(AssertUnwindSafe(|| read_everything(&dir, &fixture.ids))));
        let time = start.elapsed();
        self.cases += 1;
        match outcome {
            Ok(Reading { sound, opened, refused, .. }) => {
                self.sound += usize::from(sound);
                self.opened += usize::from(opened);
                self.refused += refused;
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
                // Numbers differ from case to case, the promise does not.
                let text: String = text.chars().filter(|c| !"-.0123456789".contains(*c)).take(160).collect();
                self.broken.entry(text).or_insert_with(what);
            }
        }
        if peak > MOST_HEAP {
            self.broken.entry("memory".to_owned()).or_insert_with(|| format!("{}: {peak} bytes", what()));
        }
        if time > MOST_TIME {
            self.broken.entry("time".to_owned()).or_insert_with(|| format!("{}: {time:?}", what()));
        }
        (self.peak, self.slowest) = (self.peak.max(peak), self.slowest.max(time));
    }

    fn merge(runs: Vec<Run>) -> Run {
        let mut all = Run::default();
        for run in runs {
            all.cases += run.cases;
            all.sound += run.sound;
            all.opened += run.opened;
            all.refused += run.refused;
            (all.peak, all.slowest) = (all.peak.max(run.peak), all.slowest.max(run.slowest));
            for (text, case) in run.broken {
                all.broken.entry(text).or_insert(case);
            }
        }
        all
    }

    fn conclude(&self, name: &str) -> usize {
        println!(
            "{name}: {} forged directories: {} opened ({} reads refused), {} not to be told from sound ones; peak heap {} KiB, slowest \
             {:?}",
            self.cases,
            self.opened,
            self.refused,
            self.sound,
            self.peak >> 10,
            self.slowest
        );
        for (text, case) in &self.broken {
            println!("  broken: {text}\n    by {case}");
        }
        self.broken.len()
    }
}

/// Values that break arithmetic, for a field that holds `now` in a file of `len` bytes.
fn values(now: &[u8], len: usize, draw: &mut Draw) -> Vec<Vec<u8>> {
    let size = now.len().min(16);
    let mut wide = [0; 16];
    wide[..size].copy_from_slice(&now[..size]);
    let n = u128::from_le_bytes(wide);
    let most = u128::MAX >> (128 - 8 * size);
    let random = u128::from(draw.next()) << 64 | u128::from(draw.next());
    let numbers = [
        0,
        1,
        most,
        most - 1,
        n.wrapping_add(1),
        n.wrapping_sub(1),
        n.wrapping_mul(2),
        len as u128,
        len as u128 + 1,
        most >> 1,
        (most >> 1) + 1,
        random,
        random & 0xFFFF,
        n ^ 1 << draw.below(8 * size),
    ];
    let bytes = |value: u128| {
        let mut bytes = now.to_vec();
        bytes[..size].copy_from_slice(&value.to_le_bytes()[..size]);
        bytes
    };
    let mut all: Vec<Vec<u8>> = numbers.into_iter().map(bytes).collect();
    all.push(vec![0xFF; now.len()]);
    all.retain(|value| value != now);
    all.sort();
    all.dedup();
    all
}

struct Subject {
    fixture: Fixture,
    files: Files,
    places: Vec<Place>,
}

fn subjects() -> Vec<Subject> {
    let take = |fixture: Fixture| {
        let files = fixture.files();
        let mut places = places(&files);
        places.retain(|place| place.at + place.size <= files[&place.file].len());
        Subject { places, files, fixture }
    };
    // Of collections with lists, what others do not have; of all but the first, what the first does not have.
    let only = |kinds: &'static [FileKind]| {
        move |fixture: Fixture| {
            let mut subject = take(fixture);
            subject.places.retain(|place| place.file.kind().is_some_and(|kind| kinds.contains(&kind)));
            subject
        }
    };
    let first = only(&[FileKind::Manifest, FileKind::Model, FileKind::List])(lists());
    let others = [product(), uncoded()].map(only(&[FileKind::Model, FileKind::List]));
    all().into_iter().map(take).chain([first]).chain(others).collect()
}

fn write(files: &mut Files, place: &Place, value: &[u8]) {
    if let Some(bytes) = files.get_mut(&place.file) {
        put(bytes, place.at, value);
        if let Some(twin) = place.twin {
            put(bytes, twin, value);
        }
    }
}

/// [C18] Each field of each structure, set to what breaks arithmetic.
#[test]
fn any_field_may_hold_anything() {
    std::panic::set_hook(Box::new(|_| ()));
    let mut broken = 0;
    for subject in subjects() {
        let run = on_both_cores(subject.places.len(), |claimed| {
            let mut run = Run::default();
            for case in claimed {
                let place = &subject.places[case];
                let content = &subject.files[&place.file];
                let now = &content[place.at..place.at + place.size];
                for value in values(now, content.len(), &mut Draw(case as u64)) {
                    let mut files = subject.files.clone();
                    write(&mut files, place, &value);
                    seal_all(&mut files);
                    let what = || format!("{} at {} of {} = {value:02x?}", place.what, place.at, place.file);
                    run.read(&subject.fixture, &files, &what);
                }
            }
            run
        });
        let name = format!("{}, {} fields", subject.fixture.name, subject.places.len());
        broken += Run::merge(run).conclude(&name);
    }
    assert_eq!(broken, 0, "promises broken, see above");
}

/// [C18] Several fields at once.
#[test]
fn several_fields_may_lie_together() {
    std::panic::set_hook(Box::new(|_| ()));
    const CASES: usize = 6_000;
    let mut broken = 0;
    for subject in subjects() {
        let run = on_both_cores(CASES, |claimed| {
            let mut run = Run::default();
            for case in claimed {
                let mut draw = Draw(case as u64 + 1_000_000);
                let mut files = subject.files.clone();
                let mut edits = Vec::new();
                for _ in 0..2 + draw.below(4) {
                    let place = &subject.places[draw.below(subject.places.len())];
                    let content = &subject.files[&place.file];
                    let choices = values(&content[place.at..place.at + place.size], content.len(), &mut draw);
                    let value = &choices[draw.below(choices.len())];
                    write(&mut files, place, value);
                    edits.push((place, value.clone()));
                }
                seal_all(&mut files);
                let text =
                    |(place, value): &(&Place, Vec<u8>)| format!("{} at {} = {value:02x?}", place.what, place.at);
                run.read(&subject.fixture, &files, &|| edits.iter().map(text).collect::<Vec<_>>().join("; "));
            }
            run
        });
        broken += Run::merge(run).conclude(subject.fixture.name);
    }
    assert_eq!(broken, 0, "promises broken, see above");
}

/// [C18] Every fourth byte of every file, whatever it means, with one to eight bytes of anything.
#[test]
fn any_bytes_may_hold_anything() {
    std::panic::set_hook(Box::new(|_| ()));
    let mut broken = 0;
    for subject in subjects() {
        let offsets =
            |(name, bytes): (&_, &Vec<u8>)| (0..bytes.len()).step_by(4).map(|at| (*name, at)).collect::<Vec<_>>();
        let cases: Vec<_> = subject.files.iter().flat_map(offsets).collect();
        let run = on_both_cores(cases.len(), |claimed| {
            let mut run = Run::default();
            for case in claimed {
                let (name, at) = cases[case];
                let mut draw = Draw(case as u64 + 2_000_000);
                let bytes = &subject.files[&name];
                let now = &bytes[at..(at + (1 << draw.below(4))).min(bytes.len())];
                let choices = values(now, bytes.len(), &mut draw);
                let value = &choices[draw.below(choices.len())];
                let mut files = subject.files.clone();
                put(files.get_mut(&name).unwrap(), at, value);
                seal_all(&mut files);
                run.read(&subject.fixture, &files, &|| format!("{name} at {at} = {value:02x?}"));
            }
            run
        });
        broken += Run::merge(run).conclude(subject.fixture.name);
    }
    assert_eq!(broken, 0, "promises broken, see above");
}

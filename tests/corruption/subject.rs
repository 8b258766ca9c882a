//! A fixture with its right answers, and the judgement over a damaged copy of it.

use std::sync::Arc;

use stratavec::storage::{FileName, Storage};
use stratavec::{Collection, ErrorKind, Verify, VerifyReport};
use stratavec_fuzz_targets::fixture::{Fixture, options};
use stratavec_fuzz_targets::reading::{Answer, Questions};
use stratavec_fuzz_targets::seal::{LOG_HEADER, number, records};

/// A sound collection, what it answers, and what it would answer without its last batches.
pub struct Subject {
    pub fixture: Fixture,
    questions: Questions,
    /// By the number of batches in the logs.
    answers: Vec<Vec<Answer>>,
    pub last_log: FileName,
    /// Where the last group of the last log begins: nothing behind says that this was durable (C15).
    pub last_group: usize,
}

/// What may be told of a damaged copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `verify` named the damage; reads gave the same answers or were refused.
    Found { opened: bool, refused: usize },
    /// Reported as dropped bytes of the log; the answers are those without the last batches.
    Tail { batches_lost: usize },
    /// Nothing was said, and nothing is different.
    Harmless,
}

impl Subject {
    pub fn new(fixture: Fixture) -> Subject {
        let questions = Questions::new(fixture.schema.dim(), &fixture.ids);
        let logs = fixture.logs();
        let last_log = *logs.last().unwrap();
        let bytes = fixture.dir.file_bytes(last_log).unwrap();
        let records = records(&bytes);
        let last_group = records.iter().map(|(at, _)| number(&bytes, at + 16, 8) as usize).max().unwrap_or(LOG_HEADER);
        let mut subject = Subject { questions, answers: Vec::new(), last_log, last_group, fixture };
        // Cuts of the last log at each record, shortest first; earlier states are never legal results.
        let mut ends = vec![LOG_HEADER];
        ends.extend(records.iter().map(|(_, end)| *end));
        for end in ends {
            let dir = subject.fixture.dir.fork();
            dir.corrupt(last_log, |bytes| bytes.truncate(end));
            let c = Collection::open_in(Arc::new(dir), options()).unwrap();
            let batches = c.recovery().batches_replayed as usize;
            subject.answers.resize(batches + 1, Vec::new());
            subject.answers[batches] = subject.questions.ask(&c.snapshot());
        }
        assert!(subject.whole().iter().all(Result::is_ok));
        subject
    }

    fn whole(&self) -> &[Answer] {
        self.answers.last().unwrap()
    }

    /// Batches in the logs.
    pub fn batches(&self) -> usize {
        self.answers.len() - 1
    }

    /// Verifies, opens and asks. Panics on a silent wrong answer; `tail` says whether batches at the end of the log may be missing.
    pub fn judge(&self, dir: impl Storage + 'static, tail: bool, what: &dyn Fn() -> String) -> Outcome {
        let report = Collection::verify_in(&dir, Verify::Full).unwrap_or_else(|error| {
            let mut report = VerifyReport::default();
            report.findings.push(error);
            report
        });
        let dropped = report.log.tail_bytes_dropped;
        let c = match Collection::open_in(Arc::new(dir), options()) {
            Ok(c) => c,
            Err(error) => {
                let kind = error.kind();
                assert!(matches!(kind, ErrorKind::Corrupt | ErrorKind::NotFound), "{}: open: {error:?}", what());
                assert!(!report.is_sound(), "{}: open fails with {error:?}, verify finds nothing", what());
                return Outcome::Found { opened: false, refused: 0 };
            }
        };
        let batches = c.recovery().batches_replayed as usize;
        assert!(batches == self.batches() || tail, "{}: {batches} batches of {}", what(), self.batches());
        assert_eq!(c.recovery().tail_bytes_dropped, dropped, "{}", what());
        let right = &self.answers[batches];
        let mut refused = 0;
        for (i, answer) in self.questions.ask(&c.snapshot()).iter().enumerate() {
            match answer {
                Err(ErrorKind::Corrupt) => refused += 1,
                _ => assert_eq!(*answer, right[i], "{}: silent wrong answer to question {i}", what()),
            }
        }
        match (report.is_sound(), dropped > 0 || batches < self.batches()) {
            (false, _) => Outcome::Found { opened: true, refused },
            (true, true) => {
                assert!(refused == 0 && tail, "{}: dropped {dropped} bytes, {refused} refusals", what());
                Outcome::Tail { batches_lost: self.batches() - batches }
            }
            (true, false) => {
                assert_eq!(refused, 0, "{}: verify finds nothing, but reads are refused", what());
                Outcome::Harmless
            }
        }
    }
}

impl Outcome {
    /// Whether `verify` named it.
    pub fn is_found(self) -> bool {
        matches!(self, Outcome::Found { .. })
    }
}

/// How often each came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub found: usize,
    pub refused: usize,
    pub tail: usize,
    pub batches_lost: usize,
    pub harmless: usize,
}

impl Tally {
    pub fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Found { refused, .. } => {
                self.found += 1;
                self.refused += refused;
            }
            Outcome::Tail { batches_lost } => {
                self.tail += 1;
                self.batches_lost += batches_lost;
            }
            Outcome::Harmless => self.harmless += 1,
        }
    }

    pub fn total(tallies: impl IntoIterator<Item = Tally>) -> Tally {
        tallies.into_iter().fold(Tally::default(), |a, b| Tally {
            found: a.found + b.found,
            refused: a.refused + b.refused,
            tail: a.tail + b.tail,
            batches_lost: a.batches_lost + b.batches_lost,
            harmless: a.harmless + b.harmless,
        })
    }

    pub fn cases(&self) -> usize {
        self.found + self.tail + self.harmless
    }
}

/// Runs cases on both cores; the sums of what each thread counted.
pub fn on_both_cores<T: Send>(cases: usize, work: impl Fn(&mut dyn Iterator<Item = usize>) -> T + Sync) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 8));
    let next = std::sync::atomic::AtomicUsize::new(0);
    let claim = || {
        let start = next.fetch_add(64, std::sync::atomic::Ordering::Relaxed);
        (start < cases).then(|| start..(start + 64).min(cases))
    };
    std::thread::scope(|scope| {
        let run = || work(&mut std::iter::from_fn(claim).flatten());
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

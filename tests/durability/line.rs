//! The line that every failure prints and that repeats it: `R1 workload=flush seed=1 call=17 phase=after mask=2f`.
//!
//! Put it into `STRATAVEC_REPRODUCE` to repeat one failure alone, or into `REGRESSIONS` to have it tried before everything
//! else for ever.

use std::fmt;

use stratavec::storage::testing::{Phase, UnitMask};
use stratavec_tests::Workload;

/// A moment in a run, and what survived a power loss at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of the mutating call; past the last one: the end of the run.
    pub call: u64,
    /// Before it or after it.
    pub phase: Phase,
    /// The pending units that survived.
    pub mask: UnitMask,
}

/// One power loss of one run, and perhaps a second one in the recovery from it.
#[derive(Clone, Debug)]
pub struct Line {
    /// What is run.
    pub workload: &'static Workload,
    /// Its seed.
    pub seed: u64,
    /// The power loss.
    pub first: Place,
    /// The power loss in the recovery.
    pub second: Option<Place>,
}

impl Line {
    /// Reads a line; what follows a colon and a space is a comment.
    pub fn parse(line: &str) -> Option<Line> {
        let line = line.split(": ").next()?;
        let mut words = line.split_whitespace();
        let suite = words.next()?;
        let fields: Vec<(&str, &str)> = words.filter_map(|word| word.split_once('=')).collect();
        let field = |name: &str| fields.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
        let place = |call: &str, phase: &str, mask: &str| {
            Some(Place {
                call: field(call)?.parse().ok()?,
                phase: if field(phase)? == "before" { Phase::Before } else { Phase::After },
                mask: UnitMask::parse(field(mask)?)?,
            })
        };
        Some(Line {
            workload: Workload::named(field("workload")?)?,
            seed: field("seed")?.parse().ok()?,
            first: place("call", "phase", "mask")?,
            second: if suite == "R2" { Some(place("call2", "phase2", "mask2")?) } else { None },
        })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suite = if self.second.is_some() { "R2" } else { "R1" };
        write!(f, "{suite} workload={} seed={}", self.workload.name, self.seed)?;
        let mut place = |place: &Place, number: &str| {
            let phase = if place.phase == Phase::Before { "before" } else { "after" };
            write!(f, " call{number}={} phase{number}={phase} mask{number}={}", place.call, place.mask)
        };
        place(&self.first, "")?;
        self.second.as_ref().map_or(Ok(()), |second| place(second, "2"))
    }
}

#[test]
fn a_failure_line_reads_back() {
    let first = Place { call: 17, phase: Phase::After, mask: UnitMask::from_bits(0x2f) };
    let second = Some(Place { call: 3, phase: Phase::Before, mask: UnitMask::default() });
    for second in [None, second] {
        let line = Line { workload: Workload::named("flush").unwrap(), seed: 9, first: first.clone(), second };
        let read = Line::parse(&format!("{line}: what happened")).unwrap();
        assert_eq!((read.seed, &read.first, &read.second), (9, &line.first, &line.second));
        assert_eq!(read.to_string(), line.to_string());
    }
    assert!(Line::parse("R1 workload=unheard-of seed=1 call=1 phase=after mask=0").is_none());
}

//! Lists made from rows: who is in which list, and their codes, some lists at a time.

use std::sync::Mutex;

use super::live_points::length;
use crate::error::Result;
use crate::index::ivf::{EncodedList, EntryEncoder, EntryLayout};
use crate::kernel::cluster::{NO_LIST, Parallel, Points};
use crate::kernel::kernels;
use crate::metric::Metric;
use crate::segment::{ListInput, ListSource};
use crate::snapshot::{OpenModel, layout_of};

/// Lists that are coded at a time: enough for every thread, and never many megabytes.
const BATCH: usize = 64;

/// Rows with their lists.
pub(crate) struct ListBuild<'a> {
    model: &'a OpenModel,
    layout: EntryLayout,
    points: &'a dyn Points,
    numbers: &'a [u64],
    parallel: &'a dyn Parallel,
    /// Positions of rows by list: those that have it first, then those that have it second.
    members: Vec<Vec<u32>>,
    primary: Vec<usize>,
    first: usize,
    coded: Vec<EncodedList>,
}

impl<'a> ListBuild<'a> {
    /// Row `i` of `points` has the number `numbers[i]`, the list `lists[i]` and, unless that is [`NO_LIST`], the second list
    /// `seconds[i]`. Codes are those of the model.
    ///
    /// # Errors
    /// `InvalidArgument` if there are no lists of such codes.
    pub(crate) fn new(
        model: &'a OpenModel,
        points: &'a dyn Points,
        numbers: &'a [u64],
        parallel: &'a dyn Parallel,
        lists: &[u32],
        seconds: &[u32],
    ) -> Result<ListBuild<'a>> {
        let layout = layout_of(&model.shape()?);
        let mut members = vec![Vec::new(); model.file.lists()];
        let mut put = |list: u32, position: usize| {
            if let Some(members) = members.get_mut(list as usize) {
                members.push(position as u32);
            }
        };
        lists.iter().enumerate().for_each(|(position, list)| put(*list, position));
        let primary: Vec<usize> = members.iter().map(Vec::len).collect();
        let mut put = |list: u32, position: usize| {
            if let Some(members) = members.get_mut(list as usize) {
                members.push(position as u32);
            }
        };
        let spilled =
            seconds.iter().zip(lists).enumerate().filter(|(_, (second, list))| **second != NO_LIST && second != list);
        spilled.for_each(|(position, (second, _))| put(*second, position));
        Ok(ListBuild { model, layout, points, numbers, parallel, members, primary, first: 0, coded: Vec::new() })
    }

    fn number(&self, position: u32) -> u64 {
        self.numbers.get(position as usize).copied().unwrap_or(u64::MAX)
    }

    /// Codes the lists from `first` on.
    fn code(&mut self, first: usize) -> Result<()> {
        let count = BATCH.min(self.members.len().saturating_sub(first));
        let slots: Vec<Mutex<(EncodedList, Result<()>)>> =
            (0..count).map(|_| Mutex::new((EncodedList::new(self.layout), Ok(())))).collect();
        let this = &*self;
        self.parallel.run(count, &|task| {
            if let Some(slot) = slots.get(task)
                && let Ok(mut slot) = slot.lock()
            {
                let (list, outcome) = &mut *slot;
                *outcome = this.code_one(first + task, list);
            }
        });
        self.first = first;
        self.coded.clear();
        for slot in slots {
            let (list, outcome) = slot.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
            outcome?;
            self.coded.push(list);
        }
        Ok(())
    }

    fn code_one(&self, list: usize, out: &mut EncodedList) -> Result<()> {
        let mut encoder = EntryEncoder::new(kernels(), &self.model.frame, self.model.centroids(), self.model.coder());
        encoder.begin(list);
        // Rows that are not coded need not be read.
        let without_codes = self.layout == EntryLayout::Bare;
        let mut row = vec![0.0; self.points.dim()];
        out.primary = self.primary.get(list).copied().unwrap_or(0);
        for position in self.members.get(list).into_iter().flatten() {
            if without_codes {
                out.rows.push(self.number(*position));
                continue;
            }
            self.points.read(*position as usize, &mut row)?;
            let length = match self.model.frame.metric() {
                Metric::Cosine => length(&row),
                _ => 1.0,
            };
            encoder.push(self.number(*position), &row, length, out);
        }
        Ok(())
    }
}

impl ListSource for ListBuild<'_> {
    fn lists(&self) -> usize {
        self.members.len()
    }

    fn rows(&self, list: usize, take: &mut dyn FnMut(&[u64], usize)) -> Result<()> {
        let members = self.members.get(list).map_or(&[][..], |members| members);
        let rows: Vec<u64> = members.iter().map(|position| self.number(*position)).collect();
        take(&rows, self.primary.get(list).copied().unwrap_or(0));
        Ok(())
    }

    fn visit(&mut self, list: usize, take: &mut dyn FnMut(ListInput<'_>) -> Result<()>) -> Result<()> {
        if !(self.first..self.first + self.coded.len()).contains(&list) {
            self.code(list)?;
        }
        match self.coded.get(list - self.first) {
            Some(EncodedList { rows, signs, factors, records, .. }) => {
                take(ListInput { rows, signs, factors, records })
            }
            None => take(ListInput { rows: &[], signs: &[], factors: &[], records: &[] }),
        }
    }
}

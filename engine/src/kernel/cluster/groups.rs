//! Things sorted by the number of their group.

/// Positions `0..n` by group; within a group in their order.
pub(super) struct Groups {
    order: Vec<u32>,
    ends: Vec<usize>,
}

impl Groups {
    /// Sorts positions by `group`, whose numbers are below `count`.
    pub(super) fn new(group: &[u32], count: usize) -> Self {
        let mut ends = vec![0; count + 1];
        for group in group {
            ends[*group as usize + 1] += 1;
        }
        for i in 1..ends.len() {
            ends[i] += ends[i - 1];
        }
        let mut order = vec![0; group.len()];
        for (position, group) in group.iter().enumerate() {
            let at = &mut ends[*group as usize];
            order[*at] = position as u32;
            *at += 1;
        }
        ends.pop();
        Groups { order, ends }
    }

    /// The positions of one group.
    pub(super) fn members(&self, group: usize) -> &[u32] {
        let start = if group == 0 { 0 } else { self.ends[group - 1] };
        &self.order[start..self.ends[group]]
    }

    /// Number of groups.
    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_groups_may_be_empty() {
        let groups = Groups::new(&[3, 1, 3, 0, 1, 3], 5);
        let all: Vec<&[u32]> = (0..groups.count()).map(|group| groups.members(group)).collect();
        assert_eq!(all, [&[3][..], &[1, 4], &[], &[0, 2, 5], &[]]);
    }
}

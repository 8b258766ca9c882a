//! How many anchors each group of rows gets.

use crate::error::{Error, Result};

/// Shares `total` out among groups of `sizes` rows: in proportion to the sizes, by the largest remainder (of equals the first
/// group), but to each group that has rows at least `minimum`, or all its rows if it has fewer. A group never gets more than
/// its rows. The groups below the minimum are served first; proportion is kept among the others.
///
/// # Errors
/// `InvalidArgument` if the minima alone exceed `total`.
pub(super) fn allocate(sizes: &[usize], total: usize, minimum: usize) -> Result<Vec<usize>> {
    let floors: Vec<usize> = sizes.iter().map(|size| minimum.min(*size)).collect();
    let needed: usize = floors.iter().sum();
    if needed > total {
        let problem = format!("of {total} is too small: {minimum} for each group with rows are {needed}");
        return Err(Error::argument("count", problem));
    }
    // Whoever ends below the floor or above the size is fixed there, and the rest shared out anew: at most once per group.
    let mut fixed: Vec<Option<usize>> = vec![None; sizes.len()];
    loop {
        let shares = proportional(sizes, &fixed, total);
        let below: Vec<usize> =
            (0..sizes.len()).filter(|at| fixed[*at].is_none() && shares[*at] < floors[*at]).collect();
        let above: Vec<usize> =
            (0..sizes.len()).filter(|at| fixed[*at].is_none() && shares[*at] > sizes[*at]).collect();
        if below.is_empty() && above.is_empty() {
            return Ok(shares);
        }
        if below.is_empty() {
            above.iter().for_each(|at| fixed[*at] = Some(sizes[*at]));
        } else {
            below.iter().for_each(|at| fixed[*at] = Some(floors[*at]));
        }
    }
}

/// Shares of the groups that are not fixed, in proportion to their sizes; fixed ones as they are.
fn proportional(sizes: &[usize], fixed: &[Option<usize>], total: usize) -> Vec<usize> {
    let open: Vec<usize> = (0..sizes.len()).filter(|at| fixed[*at].is_none() && sizes[*at] > 0).collect();
    let left = total.saturating_sub(fixed.iter().flatten().sum());
    let all: u128 = open.iter().map(|at| sizes[*at] as u128).sum::<u128>().max(1);
    let mut shares: Vec<usize> = fixed.iter().map(|fixed| fixed.unwrap_or(0)).collect();
    let quota = |at: usize| sizes[at] as u128 * left as u128;
    open.iter().for_each(|at| shares[*at] = (quota(*at) / all) as usize);
    let mut rest = left - open.iter().map(|at| shares[*at]).sum::<usize>();
    let mut by_remainder = open;
    by_remainder.sort_by_key(|at| std::cmp::Reverse(quota(*at) % all));
    for at in by_remainder {
        let more = rest.min(1);
        shares[at] += more;
        rest -= more;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_of_sixty_thirty_ten_is_kept() {
        assert_eq!(allocate(&[600, 300, 100], 10, 0).unwrap(), [6, 3, 1]);
        assert_eq!(allocate(&[600, 300, 100], 11, 1).unwrap(), [7, 3, 1]);
    }

    #[test]
    fn tiny_groups_get_the_minimum_and_no_group_more_than_its_rows() {
        assert_eq!(allocate(&[9_000, 990, 10], 20, 3).unwrap(), [14, 3, 3]);
        assert_eq!(allocate(&[1_000, 2, 0], 12, 5).unwrap(), [10, 2, 0]);
        assert_eq!(allocate(&[4, 3, 2], 100, 1).unwrap(), [4, 3, 2]);
        assert_eq!(allocate(&[], 5, 1).unwrap(), [0; 0]);
    }

    #[test]
    fn minima_that_do_not_fit_are_refused() {
        assert!(allocate(&[10, 10, 10], 5, 2).is_err());
    }
}

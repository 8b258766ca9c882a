//! When the parts of a persistent structure merge.

/// Parts of one size class merge when there are this many of them.
pub(super) const FANOUT: usize = 16;

/// How many of the youngest parts are to be merged into one now; 0 if none. `classes` are the size classes of the parts from the
/// youngest to the oldest, `None` for one that is never merged again.
///
/// Sixteen of a class become one of the next, and a part takes in younger neighbours of a smaller class that are older than itself.
/// So once nothing is left to merge there are at most fifteen of each class behind the last part that is sealed. What is in a part
/// is copied once per class, however the sizes of batches follow each other.
pub(super) fn to_merge(classes: impl Iterator<Item = Option<u32>>) -> usize {
    to_merge_by(FANOUT, classes)
}

/// The same for parts of which `fanout` of a class become one of the next: fewer parts, each row copied more often.
pub(super) fn to_merge_by(fanout: usize, classes: impl Iterator<Item = Option<u32>>) -> usize {
    let (mut highest, mut of_highest, mut merge) = (0, 0, 0);
    for (at, class) in classes.map_while(|class| class).enumerate() {
        match class.cmp(&highest) {
            std::cmp::Ordering::Less => merge = at + 1,
            std::cmp::Ordering::Equal => of_highest += 1,
            std::cmp::Ordering::Greater => (highest, of_highest) = (class, 1),
        }
        if of_highest >= fanout {
            merge = at + 1;
        }
    }
    merge
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(newest_first: &[u32]) -> usize {
        to_merge(newest_first.iter().map(|class| Some(*class)))
    }

    #[test]
    fn sixteen_of_a_class_merge_and_fewer_do_not() {
        assert_eq!((merged(&[0; 15]), merged(&[0; 16])), (0, 16));
        assert_eq!(merged(&[&[0u32; 15][..], &[1; 15], &[2; 15]].concat()), 0);
        assert_eq!(merged(&[&[0u32; 3][..], &[1; 16], &[2; 5]].concat()), 19);
    }

    #[test]
    fn a_large_part_takes_in_the_small_ones_before_it() {
        assert_eq!(merged(&[2, 0, 0, 1, 2, 2]), 4);
        assert_eq!(to_merge([None, Some(0), Some(0)].into_iter()), 0, "but not if it is sealed");
        assert_eq!(to_merge([Some(1), Some(0), None, Some(0)].into_iter()), 2, "and not across one that is");
    }
}

//! Batches: as many things a call as the service takes.

/// The most entries of a call, for EventBridge and for SQS.
const COUNT: usize = 10;

/// Parts a list into batches of at most ten, in order, each within `limit` together; what is
/// larger alone gets a batch of its own, so that nobody else fails with it.
pub(crate) fn batches<T>(list: &[T], limit: usize, size: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut batches = Vec::new();
    let mut rest = list;
    while !rest.is_empty() {
        let mut sum = 0_usize;
        let fits = |one: &&T| {
            sum = sum.saturating_add(size(one));
            sum <= limit
        };
        let count = rest.iter().take(COUNT).take_while(fits).count().max(1);
        let (batch, others) = rest.split_at(count.min(rest.len()));
        batches.push(batch);
        rest = others;
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_order_and_bounds() {
        let lengths = |list: &[usize]| {
            let all = batches(list, 100, |size| *size);
            assert_eq!(all.concat(), list);
            all.iter().map(|batch| batch.len()).collect::<Vec<_>>()
        };
        assert_eq!(lengths(&[]), [0_usize; 0]);
        assert_eq!(lengths(&[1; 25]), [10, 10, 5]);
        assert_eq!(lengths(&[60, 40, 1, 99]), [2, 2]);
        assert_eq!(lengths(&[1, 500, 1]), [1, 1, 1]);
    }
}

//! Which of the endpoints is asked.

/// So many failures in a row of the endpoint that answered last, and another one is tried.
const PATIENCE: u32 = 3;

/// Which of the endpoints is asked: always one, never two at once.
///
/// An endpoint that has not proven itself gets a single try before the one that has is asked
/// again, so that an address that does not exist costs little in an outage.
#[derive(Debug)]
pub(crate) struct Endpoints {
    count: usize,
    current: usize,
    proven: usize,
    failures: u32,
}

impl Endpoints {
    pub(crate) fn new(count: usize) -> Self {
        Self { count: count.max(1), current: 0, proven: 0, failures: 0 }
    }

    /// The one to ask.
    pub(crate) fn current(&self) -> usize {
        self.current
    }

    /// It answered.
    pub(crate) fn answered(&mut self) {
        self.proven = self.current;
        self.failures = 0;
    }

    /// It did not answer.
    pub(crate) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
        let patience = if self.current == self.proven { PATIENCE } else { 1 };
        if self.failures >= patience {
            self.current = (self.current + 1) % self.count;
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The endpoints asked, given those that answer.
    fn asked(endpoints: &mut Endpoints, turns: usize, answering: &[usize]) -> String {
        (0..turns)
            .map(|_| {
                let current = endpoints.current();
                match answering.contains(&current) {
                    true => endpoints.answered(),
                    false => endpoints.failed(),
                }
                current.to_string()
            })
            .collect()
    }

    #[test]
    fn a12_the_second_is_asked_after_three_failures_and_kept_while_it_answers() {
        let mut endpoints = Endpoints::new(2);
        assert_eq!(asked(&mut endpoints, 8, &[1]), "00011111");
        assert_eq!(asked(&mut endpoints, 6, &[0]), "111000");
    }

    #[test]
    fn a12_in_an_outage_the_one_that_has_answered_is_asked_three_times_out_of_four() {
        let mut endpoints = Endpoints::new(2);
        assert_eq!(asked(&mut endpoints, 3, &[0]), "000");
        assert_eq!(asked(&mut endpoints, 9, &[]), "000100010");
    }

    #[test]
    fn a_single_endpoint_is_asked_for_ever() {
        assert_eq!(asked(&mut Endpoints::new(1), 7, &[]), "0000000");
    }
}

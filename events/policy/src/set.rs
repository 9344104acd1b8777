//! Policies that are asked about many events.

use std::ops::Deref;

use snooze_pattern::{Index, View};

use crate::Policy;

/// Policies, with an index over their patterns, made once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PolicySet {
    policies: Vec<Policy>,
    index: Index,
}

impl PolicySet {
    /// A set of these policies.
    #[must_use]
    pub fn new(policies: Vec<Policy>) -> Self {
        let index = Index::new(policies.iter().map(|policy| &policy.pattern));
        Self { policies, index }
    }

    /// The policies that are switched on and match, ordered by name, as
    /// [`select`](crate::select) finds them, without a look at each.
    #[must_use]
    pub fn select(&self, document: &View<'_>) -> Vec<&Policy> {
        crate::select::among(self.candidates(document), document)
    }

    /// The policies that are looked at for a document: all that match, and few that do not.
    pub fn candidates(&self, document: &View<'_>) -> impl Iterator<Item = &Policy> {
        let numbers = self.index.candidates_in_view(document).into_iter();
        numbers.filter_map(|number| self.policies.get(number))
    }

    /// The policies alone, in the order in which they were given.
    #[must_use]
    pub fn into_policies(self) -> Vec<Policy> {
        self.policies
    }
}

impl From<Vec<Policy>> for PolicySet {
    fn from(policies: Vec<Policy>) -> Self {
        Self::new(policies)
    }
}

impl FromIterator<Policy> for PolicySet {
    fn from_iter<I: IntoIterator<Item = Policy>>(policies: I) -> Self {
        Self::new(policies.into_iter().collect())
    }
}

impl Deref for PolicySet {
    type Target = [Policy];

    fn deref(&self) -> &[Policy] {
        &self.policies
    }
}

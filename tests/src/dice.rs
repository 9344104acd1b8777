//! Random choices that one number repeats.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::place;

/// Random numbers (xorshift64*): good enough to choose moments, and repeated by their seed.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice with a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // The spread of neighbouring seeds over all bits; zero would stay zero.
        Self((seed ^ 0x9E37_79B9_7F4A_7C15).wrapping_mul(0xBF58_476D_1CE4_E5B9) | 1)
    }

    /// The next number below a bound; 0 when the bound is.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16;
        number.checked_rem(bound).unwrap_or(0)
    }

    /// A time between two, to the microsecond.
    pub fn time(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let span = longest.saturating_sub(shortest).as_micros();
        let span = u64::try_from(span).unwrap_or(u64::MAX);
        shortest + Duration::from_micros(self.below(span.saturating_add(1)))
    }
}

/// The seed in `SNOOZE_SEED`, or one of this moment.
#[must_use]
pub fn seed() -> u64 {
    let named = place::variable("SNOOZE_SEED").and_then(|text| text.parse().ok());
    named.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.as_secs().wrapping_mul(1_000_000_007) ^ u64::from(now.subsec_nanos())
    })
}

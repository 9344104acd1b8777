//! The one token of a client.

use std::fmt;
use std::time::Duration;

use reqwest::header::HeaderValue;
use tokio::time::Instant;

use crate::TokenFault;

/// A token is renewed this long before its end, so that no poll meets a dead one.
const RENEWAL_LEAD: Duration = Duration::from_secs(15);

/// The longest life there is (EC2 User Guide, "Use IMDSv2", checked 2026-11).
const LONGEST_LIFE_SECONDS: u32 = 21_600;

/// A token and the moment from which a new one is wanted.
///
/// The clock may stand still while the instance sleeps; the 401 that follows brings a new token.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    secret: Secret,
    stale_from: Instant,
}

impl Token {
    /// Reads the answer to a PUT. The service says the life; what was asked for does not count.
    pub(crate) fn read(
        text: &str,
        life: Option<&HeaderValue>,
        now: Instant,
    ) -> Result<Self, TokenFault> {
        let seconds: u32 = life
            .and_then(|life| life.to_str().ok())
            .and_then(|life| life.trim().parse().ok())
            .ok_or(TokenFault::Life)?;
        let life = Duration::from_secs(u64::from(seconds.min(LONGEST_LIFE_SECONDS)));
        let stale_from = now + (life - RENEWAL_LEAD.min(life / 2));
        Ok(Self { secret: Secret::new(text.trim())?, stale_from })
    }

    /// Whether a new one is wanted.
    pub(crate) fn is_stale(&self, now: Instant) -> bool {
        now >= self.stale_from
    }

    /// The value for the header of a GET.
    pub(crate) fn header(&self) -> HeaderValue {
        self.secret.0.clone()
    }
}

/// A text that is never printed.
#[derive(Clone)]
struct Secret(HeaderValue);

impl Secret {
    fn new(text: &str) -> Result<Self, TokenFault> {
        let Ok(mut value) = HeaderValue::from_str(text) else { return Err(TokenFault::Text) };
        if value.is_empty() {
            return Err(TokenFault::Text);
        }
        // Keeps it out of the HTTP library's own debug output, too.
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, life: Option<&str>) -> Result<Token, TokenFault> {
        let life = life.map(|life| HeaderValue::from_str(life).unwrap());
        Token::read(text, life.as_ref(), Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_renewed_fifteen_seconds_before_its_end() {
        let token = read("word", Some("21600")).unwrap();
        let start = Instant::now();
        assert!(!token.is_stale(start + Duration::from_secs(21_584)));
        assert!(token.is_stale(start + Duration::from_secs(21_585)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_life_is_used_for_half_and_a_huge_one_is_cut() {
        let start = Instant::now();
        let short = read("word", Some("10")).unwrap();
        assert!(!short.is_stale(start + Duration::from_secs(4)));
        assert!(short.is_stale(start + Duration::from_secs(5)));
        assert!(read("word", Some("0")).unwrap().is_stale(start));
        let huge = read("word", Some("4294967295")).unwrap();
        assert!(huge.is_stale(start + Duration::from_secs(21_600)));
    }

    #[tokio::test(start_paused = true)]
    async fn a2_a_life_that_is_missing_or_no_number_is_a_fault_of_the_put() {
        for life in [None, Some(""), Some("soon"), Some("-1"), Some("99999999999999999999")] {
            assert_eq!(read("word", life).unwrap_err(), TokenFault::Life, "{life:?}");
        }
        for text in ["", "  ", "a\nb", "\u{0}"] {
            assert_eq!(read(text, Some("60")).unwrap_err(), TokenFault::Text, "{text:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_never_printed() {
        let token = read("swordfish", Some("60")).unwrap();
        assert!(!format!("{token:?} {:?}", token.header()).contains("swordfish"));
    }
}

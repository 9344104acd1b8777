//! What plugins write to stderr: to our log, within bounds, without secrets.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;
use tokio::process::ChildStderr;

use super::Redactor;

/// How much of the log is kept for the status.
const TAIL: usize = 64 * 1024;

/// The longest line; the rest of a longer one is dropped.
const LINE: usize = 4 * 1024;

/// How much of one plugin's log goes into ours per period, so that it cannot fill the disk.
const SHARE: usize = 64 * 1024;
/// What a line costs in our log beside its text, so that short ones are not for nothing.
const LINE_COST: usize = 128;
const SHARE_PERIOD: Duration = Duration::from_secs(60);

/// The end of a plugin's log.
#[derive(Debug, Default)]
pub(super) struct Tail {
    lines: VecDeque<String>,
    kept: usize,
    /// Bytes in all, dropped ones too.
    pub(super) total: u64,
}

impl Tail {
    fn push(&mut self, line: String) {
        self.kept += line.len() + 1;
        self.lines.push_back(line);
        while self.kept > TAIL
            && let Some(oldest) = self.lines.pop_front()
        {
            self.kept -= oldest.len() + 1;
        }
    }

    /// The lines that are kept, each with its line feed.
    pub(super) fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
    }
}

/// Reads a plugin's log until it ends.
pub(super) async fn follow(
    mut stderr: ChildStderr,
    entry: String,
    redactor: Redactor,
    tail: Arc<Mutex<Tail>>,
) {
    let mut lines = Lines::default();
    let mut share = Share::new(Instant::now());
    let mut buffer = vec![0; 8 * 1024];
    while let Ok(length @ 1..) = stderr.read(&mut buffer).await {
        let chunk = buffer.get(..length).unwrap_or_default();
        for line in lines.push(chunk, &redactor) {
            if share.take(line.len(), Instant::now()) {
                tracing::info!(step = %entry, line, "plugin log");
            }
            tail.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
        tail.lock().unwrap_or_else(PoisonError::into_inner).total +=
            u64::try_from(length).unwrap_or_default();
        // Whoever writes a lot is read in turn with all others.
        tokio::task::yield_now().await;
    }
    if let Some(line) = lines.last(&redactor) {
        tracing::info!(step = %entry, line, "plugin log");
        tail.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
    if share.dropped > 0 {
        tracing::warn!(step = %entry, bytes = share.dropped, "plugin log too long, part dropped");
    }
}

/// Cuts a log into lines and cleans them.
#[derive(Debug, Default)]
struct Lines {
    partial: Vec<u8>,
    is_cut: bool,
}

impl Lines {
    fn push(&mut self, chunk: &[u8], redactor: &Redactor) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            let (text, has_ended) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let room = LINE - self.partial.len();
            self.is_cut |= text.len() > room;
            self.partial.extend_from_slice(text.get(..room).unwrap_or(text));
            if has_ended {
                lines.extend(self.last(redactor));
            }
        }
        lines
    }

    /// The line as far as it came, `None` when there is none.
    fn last(&mut self, redactor: &Redactor) -> Option<String> {
        let bytes = std::mem::take(&mut self.partial);
        let is_cut = std::mem::take(&mut self.is_cut);
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end();
        if text.is_empty() {
            return None;
        }
        let text = if is_cut { redactor.cut_text(text) + "…" } else { redactor.text(text) };
        Some(text.chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }).collect())
    }
}

/// How much may still be logged.
#[derive(Debug)]
struct Share {
    since: Instant,
    left: usize,
    dropped: usize,
}

impl Share {
    fn new(now: Instant) -> Self {
        Self { since: now, left: SHARE, dropped: 0 }
    }

    fn take(&mut self, length: usize, now: Instant) -> bool {
        if now.duration_since(self.since) >= SHARE_PERIOD {
            (self.since, self.left) = (now, SHARE);
        }
        let cost = length + LINE_COST;
        let fits = cost <= self.left;
        if fits {
            self.left -= cost;
        } else {
            self.dropped += length;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f11_the_last_64_kib_are_kept() {
        let mut tail = Tail::default();
        for number in 0..10_000 {
            tail.push(format!("line {number}"));
        }
        let text = tail.text();
        assert!(text.len() <= TAIL && text.len() > TAIL - 20);
        assert!(text.ends_with("line 9998\nline 9999\n"));
    }

    #[test]
    fn f11_our_own_log_takes_a_share_per_minute() {
        let start = Instant::now();
        let mut share = Share::new(start);
        let taken = (0..100).filter(|_| share.take(1024, start)).count();
        assert_eq!((taken, share.dropped), (56, 44 * 1024));
        assert!(share.take(1024, start + SHARE_PERIOD));
        let mut share = Share::new(start);
        let taken = (0..100_000).filter(|_| share.take(1, start)).count();
        assert!(taken * LINE_COST <= SHARE, "{taken} lines of one character");
    }

    #[test]
    fn g11_lines_are_cleaned_of_secrets_also_across_reads_and_at_a_cut() {
        let redactor = Redactor::new(&["S3CR3T-CANARY".to_owned()]);
        let mut lines = Lines::default();
        assert!(lines.push(b"dsn S3CR3T", &redactor).is_empty());
        assert_eq!(lines.push(b"-CANARY\x1b[2J\n\nnext\n", &redactor), ["dsn ***?[2J", "next"]);
        let long = format!("{}S3CR3T-CANARY\n", "x".repeat(LINE - 5));
        let cut = lines.push(long.as_bytes(), &redactor);
        assert_eq!(cut, [format!("{}***…", "x".repeat(LINE - 5))]);
    }
}

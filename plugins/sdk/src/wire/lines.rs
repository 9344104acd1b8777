//! Lines out of chunks, bounded.

use super::{MAX_LINE, MAX_OUTPUT};

/// The plugin wrote more than a plugin may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TooMuchOutput {
    /// A line without an end.
    #[error("a line of more than {MAX_LINE} bytes")]
    Line,
    /// Too much in all for one request.
    #[error("more than {MAX_OUTPUT} bytes for one request")]
    Total,
}

/// Cuts what a plugin writes into lines, and holds at most one line that is not yet ended.
///
/// After an error the rest of the output means nothing: stop reading and end the plugin.
#[derive(Debug, Default)]
pub struct LineBuffer {
    partial: Vec<u8>,
    total: usize,
}

impl LineBuffer {
    /// Takes the next bytes and hands over the lines that they end, without line feeds. Lines
    /// with nothing but white space are left out.
    ///
    /// # Errors
    /// [`TooMuchOutput`] when a bound is passed; lines that ended before are lost with it.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Vec<Vec<u8>>, TooMuchOutput> {
        self.total = self.total.saturating_add(chunk.len());
        if self.total > MAX_OUTPUT {
            return Err(TooMuchOutput::Total);
        }
        let mut lines = Vec::new();
        for piece in chunk.split_inclusive(|&byte| byte == b'\n') {
            let (text, ended) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            if self.partial.len() + text.len() > MAX_LINE {
                return Err(TooMuchOutput::Line);
            }
            self.partial.extend_from_slice(text);
            if ended {
                let line = std::mem::take(&mut self.partial);
                if !line.trim_ascii().is_empty() {
                    lines.push(line);
                }
            }
        }
        Ok(lines)
    }

    /// The bytes of a line that has no end yet: what a plugin that exited left half said.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.partial
    }

    /// Counts from zero again, for the next request. An unfinished line stays.
    pub fn next_request(&mut self) {
        self.total = self.partial.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_wherever_the_chunks_are() {
        let mut buffer = LineBuffer::default();
        assert_eq!(buffer.push(b"{\"a\"").unwrap(), Vec::<Vec<u8>>::new());
        assert_eq!(buffer.push(b":1}\n\r\n \n{}\nre").unwrap(), [&b"{\"a\":1}"[..], b"{}"]);
        assert_eq!(buffer.rest(), b"re");
    }

    #[test]
    fn f10_a_line_without_an_end_is_refused_at_its_bound() {
        let mut buffer = LineBuffer::default();
        assert!(buffer.push(&vec![b'x'; MAX_LINE]).is_ok());
        assert_eq!(buffer.push(b"x"), Err(TooMuchOutput::Line));
    }

    #[test]
    fn f10_a_flood_of_good_lines_is_refused_at_its_bound() {
        let mut buffer = LineBuffer::default();
        let chunk = b"{\"result\":true}\n".repeat(1024);
        let taken = (0..).take_while(|_| buffer.push(&chunk).is_ok()).count();
        assert_eq!(taken, MAX_OUTPUT / chunk.len());
        buffer.next_request();
        assert!(buffer.push(&chunk).is_ok());
    }
}

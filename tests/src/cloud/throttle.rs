//! A slow line: bytes pass to the other side at a rate, however many connections there are.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::wait;

/// What passes at once.
const CHUNK: usize = 16 * 1024;

/// A slow line. It takes no new connections once it is dropped.
#[derive(Debug)]
pub struct Throttle {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl Throttle {
    /// A line to this address that carries so many bytes a second; answers come back at once.
    ///
    /// # Panics
    /// When no port can be bound.
    #[must_use]
    pub fn start(to: SocketAddr, bytes_per_second: u32) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port can be bound");
        let address = listener.local_addr().expect("it is bound");
        let ended = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ended);
        // When the line is free again.
        let free = Arc::new(Mutex::new(Instant::now()));
        // Ends with the line; its connections end with their clients.
        let _listener = thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(server) = TcpStream::connect(to) else { continue };
                let (Ok(from), Ok(into)) = (client.try_clone(), server.try_clone()) else {
                    continue;
                };
                let free = Arc::clone(&free);
                let _there = thread::spawn(move || {
                    let slow = |length| pass(&free, length, bytes_per_second);
                    // How a connection ends is the client's business.
                    let _ended = carry(from, into, slow);
                });
                let _back = thread::spawn(move || {
                    let _ended = carry(server, client, |_| {});
                });
            }
        });
        Self { address, ended }
    }

    /// Its address, for `AWS_ENDPOINT_URL`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the listener; when that fails, it is not there any more.
        let _woken = TcpStream::connect(self.address);
    }
}

/// Waits until so many bytes may pass.
fn pass(free: &Mutex<Instant>, length: usize, bytes_per_second: u32) {
    let length = u32::try_from(length).expect("a chunk is small");
    let takes = Duration::from_secs(1) * length / bytes_per_second;
    let until = {
        let mut free = free.lock().unwrap_or_else(PoisonError::into_inner);
        *free = (*free).max(Instant::now()) + takes;
        *free
    };
    wait::pause(until.saturating_duration_since(Instant::now()));
}

fn carry(mut from: TcpStream, mut into: TcpStream, wait: impl Fn(usize)) -> io::Result<()> {
    let mut chunk = [0; CHUNK];
    loop {
        let length = from.read(&mut chunk)?;
        if length == 0 {
            return into.shutdown(Shutdown::Write);
        }
        wait(length);
        into.write_all(chunk.get(..length).unwrap_or_default())?;
    }
}

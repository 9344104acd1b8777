//! The fake for programs that are not async.

use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use tokio::runtime;
use tokio::sync::oneshot;

use super::{Fake, Stage};

/// A fake that runs in a thread of its own. It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    stage: Stage,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// When no port can be bound or no thread started.
    pub fn spawn() -> io::Result<Self> {
        Self::spawn_on(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Starts on an address; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound or no thread started.
    pub fn spawn_on(address: SocketAddr) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (started, start) = mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name("fake-imds".to_owned()).spawn(move || {
            runtime.block_on(async {
                let (said, fake) = match Fake::start(address).await {
                    Ok(fake) => (Ok(fake.stage.clone()), Some(fake)),
                    Err(error) => (Err(error), None),
                };
                if started.send(said).is_ok() && fake.is_some() {
                    // Either way the owner is gone.
                    let _end = stopped.await;
                }
            });
        })?;
        let stage = start.recv().map_err(io::Error::other)??;
        Ok(Self { stage, stop: Some(stop), thread: Some(thread) })
    }
}

impl Deref for Server {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed already.
            let _ended = thread.join();
        }
    }
}

//! Clients that write, and remember what the server said is written.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use crate::sql::{Sql, pause, wait_until};

const CLIENTS: i64 = 4;

/// Clients at work; they end with the value.
pub(crate) struct Load {
    acknowledged: Arc<Mutex<Vec<i64>>>,
    over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts them, with numbers from this one on. A client whose session ends tries to come back.
    pub(crate) fn start(folder: &Path, first: i64) -> Self {
        let acknowledged = Arc::default();
        let over = Arc::default();
        let client = |number| {
            let (rows, over) = (Arc::clone(&acknowledged), Arc::clone(&over));
            let folder = folder.to_owned();
            thread::spawn(move || write(&folder, first + number, &rows, &over))
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { acknowledged, over, clients }
    }

    /// What is acknowledged up to now.
    pub(crate) fn acknowledged(&self) -> Vec<i64> {
        self.acknowledged.lock().unwrap().clone()
    }

    /// Waits until there are this many rows more.
    pub(crate) fn wait_for(&self, rows: usize) {
        let wanted = self.acknowledged().len() + rows;
        wait_until("rows are written", || self.acknowledged().len() >= wanted);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            let _ = client.join();
        }
    }
}

fn write(folder: &Path, first: i64, rows: &Mutex<Vec<i64>>, over: &AtomicBool) {
    let is_over = || over.load(Ordering::Relaxed);
    let mut number = first;
    while !is_over() {
        let Ok(sql) = Sql::open(folder, "user=postgres") else {
            pause();
            continue;
        };
        // A number is never used twice: what was not acknowledged may be there all the same.
        number += CLIENTS;
        while !is_over() && insert(&sql, number).is_ok() {
            rows.lock().unwrap().push(number);
            number += CLIENTS;
        }
    }
}

fn insert(sql: &Sql, number: i64) -> Result<(), tokio_postgres::Error> {
    sql.try_tell(&format!("INSERT INTO load VALUES ({number}, repeat('x', 500))"))
}

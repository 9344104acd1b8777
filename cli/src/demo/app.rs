//! The application of the demo: a shop that holds its orders in memory.
//!
//! It takes orders all the time. `POST /checkpoint` writes all of them to its file, whole or not
//! at all; `GET /orders` tells how many there are. It ends when its standard input is closed.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use snoozed::exit;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::http::{self, Answer, Request};
use crate::failure::Failure;
use crate::screen;

/// Between two orders.
const ORDER_EVERY: Duration = Duration::from_millis(5);
/// What is sold.
const GOODS: [&str; 4] = ["tea", "coffee", "bread", "honey"];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where orders are saved
    file: PathBuf,
}

/// One order; all of it follows from its number, so that a reader can tell a whole one.
pub(super) fn order(number: usize) -> Value {
    let goods = GOODS.get(number % GOODS.len());
    json!({ "order": number, "goods": goods, "cents": number.wrapping_mul(7919) % 9900 + 100 })
}

/// The orders that were taken, and how many of them are on disk.
#[derive(Debug)]
struct Shop {
    file: PathBuf,
    taken: usize,
    saved: usize,
}

pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    let failed = |source| Failure::system("serve the shop", &source);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (closed, end) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        let _ = closed.send(());
    });
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        screen::say(&format!("{address}\n"))?;
        let shop = Shop { file: args.file.clone(), taken: 0, saved: 0 };
        let shop = Arc::new(Mutex::new(shop));
        let counter = Arc::clone(&shop);
        let answer = Arc::new(move |request| lock(&counter).answer(&request));
        tokio::select! {
            () = http::serve(listener, answer) => {}
            () = take_orders(&shop) => {}
            _ = end => {}
        }
        Ok(exit::OK)
    })
}

fn lock(shop: &Mutex<Shop>) -> std::sync::MutexGuard<'_, Shop> {
    shop.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn take_orders(shop: &Mutex<Shop>) {
    let mut next = tokio::time::interval(ORDER_EVERY);
    loop {
        next.tick().await;
        lock(shop).taken += 1;
    }
}

impl Shop {
    fn answer(&mut self, request: &Request) -> Answer {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/orders") => {
                let unsaved = self.taken - self.saved;
                (200, json!({ "taken": self.taken, "saved": self.saved, "unsaved": unsaved }))
            }
            ("POST", "/checkpoint") => match self.save() {
                Ok(bytes) => {
                    (200, json!({ "success": true, "orders": self.saved, "bytes": bytes }))
                }
                Err(error) => (500, json!({ "success": false, "error": error.to_string() })),
            },
            _ => (404, json!({ "error": "POST /checkpoint or GET /orders" })),
        }
    }

    fn save(&mut self) -> io::Result<usize> {
        let text: String = (1..=self.taken).map(|number| format!("{}\n", order(number))).collect();
        write_whole(&self.file, &text)?;
        self.saved = self.taken;
        Ok(text.len())
    }
}

/// All of the text or none of it, and safe from a power cut when this returns.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(shop: &mut Shop, method: &str, path: &str) -> Answer {
        let (method, path) = (method.to_owned(), path.to_owned());
        shop.answer(&Request { method, path, headers: Vec::new(), body: Vec::new() })
    }

    #[test]
    fn a_checkpoint_brings_all_orders_to_disk() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("orders.jsonl");
        let mut shop = Shop { file: file.clone(), taken: 3, saved: 0 };
        let before = ask(&mut shop, "GET", "/orders");
        assert_eq!(before, (200, json!({ "taken": 3, "saved": 0, "unsaved": 3 })));
        let (status, answer) = ask(&mut shop, "POST", "/checkpoint");
        assert_eq!((status, &answer["success"], &answer["orders"]), (200, &json!(true), &json!(3)));
        let text = fs::read_to_string(file).unwrap();
        assert_eq!(text.lines().count(), 3);
        assert_eq!(ask(&mut shop, "GET", "/orders").1["unsaved"], 0);
    }

    #[test]
    fn a_checkpoint_that_fails_says_so() {
        let file = PathBuf::from("/nowhere/orders.jsonl");
        let mut shop = Shop { file, taken: 3, saved: 0 };
        let (status, answer) = ask(&mut shop, "POST", "/checkpoint");
        assert_eq!((status, &answer["success"]), (500, &json!(false)));
        assert_eq!(ask(&mut shop, "GET", "/orders").1["unsaved"], 3);
    }
}

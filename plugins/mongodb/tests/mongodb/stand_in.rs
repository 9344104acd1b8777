//! A server that speaks MongoDB's wire protocol and plays a member of a replica set. It is no
//! MongoDB: what it answers is what the manual says that one answers.
//!
//! The protocol is of MongoDB's manual, "MongoDB Wire Protocol": a header of four little-endian
//! numbers (length, id, id that is answered, kind), then `OP_MSG`, or `OP_QUERY` for the first
//! greeting of a driver, answered by `OP_REPLY`.

use std::io::{Cursor, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use mongodb::bson::{Bson, Document, Timestamp, doc};

const OP_REPLY: i32 = 1;
const OP_QUERY: i32 = 2004;
const OP_MSG: i32 = 2013;

/// What it is, and what was asked of it.
pub(crate) struct Play {
    /// A primary or secondary of the set `rs0`; `None` plays a server without a set.
    pub(crate) is_primary: Option<bool>,
    /// A router instead.
    pub(crate) is_router: bool,
    /// What is refused, with code, its name and text.
    pub(crate) refused: Option<(&'static str, i32, &'static str, &'static str)>,
    /// What gets no answer.
    pub(crate) deaf_to: Option<&'static str>,
    /// Old servers close the connection when they step down.
    pub(crate) closes_at_step_down: bool,
    /// How often it is asked before it says that what was flushed is on disk.
    pub(crate) lag: u32,
    /// The other members hear nothing of it.
    pub(crate) is_cut_off: bool,
    /// The last change, and how much of it is on disk.
    applied: u32,
    durable: u32,
    is_flushed: bool,
    is_stopped: bool,
    /// The commands that change something, in order.
    asked: Vec<Document>,
}

/// The stand-in, on a port of its own.
pub(crate) struct StandIn {
    pub(crate) address: SocketAddr,
    pub(crate) play: Arc<Mutex<Play>>,
}

impl StandIn {
    pub(crate) fn start(is_primary: Option<bool>) -> Self {
        let play = Arc::new(Mutex::new(Play {
            is_primary,
            is_router: false,
            refused: None,
            deaf_to: None,
            closes_at_step_down: false,
            lag: 2,
            is_cut_off: false,
            applied: 7,
            durable: 3,
            is_flushed: false,
            is_stopped: false,
            asked: Vec::new(),
        }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&play);
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if shared.lock().unwrap().is_stopped {
                    return;
                }
                let play = Arc::clone(&shared);
                thread::spawn(move || while serve(&stream, &play, address).is_some() {});
            }
        });
        Self { address, play }
    }

    pub(crate) fn url(&self) -> String {
        format!("mongodb://{}/", self.address)
    }

    /// The names of the commands that change something, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        let asked = &self.play.lock().unwrap().asked;
        asked.iter().filter_map(|command| command.keys().next().cloned()).collect()
    }

    /// The command of this name.
    pub(crate) fn command(&self, name: &str) -> Document {
        let play = self.play.lock().unwrap();
        play.asked.iter().find(|command| command.contains_key(name)).unwrap().clone()
    }
}

/// Reads one message and answers it; `None` at the end of the connection.
fn serve(mut stream: &TcpStream, play: &Mutex<Play>, address: SocketAddr) -> Option<()> {
    let mut header = [0; 16];
    stream.read_exact(&mut header).ok()?;
    let number = |at: usize| i32::from_le_bytes(header[at..at + 4].try_into().unwrap());
    let (length, id, kind) = (number(0), number(4), number(12));
    let mut body = vec![0; usize::try_from(length).unwrap() - 16];
    stream.read_exact(&mut body).ok()?;
    // Flags and the kind of the section; flags, name, and two numbers.
    let start = match kind {
        OP_MSG => 5,
        OP_QUERY => 4 + body[4..].iter().position(|byte| *byte == 0).unwrap() + 1 + 8,
        other => panic!("a message of kind {other}"),
    };
    let command = Document::from_reader(Cursor::new(&body[start..])).unwrap();
    let reply = answer(&command, play, address)?;
    let mut bytes = Vec::new();
    let (kind, front) = match kind {
        OP_MSG => (OP_MSG, [0; 5].as_slice()),
        _ => (OP_REPLY, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0].as_slice()),
    };
    reply.to_writer(&mut bytes).unwrap();
    let length = i32::try_from(16 + front.len() + bytes.len()).unwrap();
    let header = [length, 1, id, kind].map(i32::to_le_bytes).concat();
    stream.write_all(&[&header, front, &bytes].concat()).ok()
}

/// `None` closes the connection.
fn answer(command: &Document, play: &Mutex<Play>, address: SocketAddr) -> Option<Document> {
    let name = command.keys().next().unwrap().as_str();
    let mut play = play.lock().unwrap();
    if play.is_stopped {
        return None;
    }
    if play.deaf_to == Some(name) {
        drop(play);
        loop {
            thread::park();
        }
    }
    if ["fsync", "replSetStepDown", "shutdown"].contains(&name) {
        play.asked.push(command.clone());
    }
    if let Some((refused, code, code_name, text)) = play.refused
        && refused == name
    {
        return Some(doc! { "ok": 0.0, "code": code, "codeName": code_name, "errmsg": text });
    }
    let is_primary = play.is_primary;
    Some(match name {
        "hello" | "isMaster" | "ismaster" => {
            let is_writable = is_primary.unwrap_or(true);
            let mut hello = doc! {
                "helloOk": true, "ismaster": is_writable, "isWritablePrimary": is_writable,
                "maxBsonObjectSize": 16_777_216, "maxMessageSizeBytes": 48_000_000,
                "maxWriteBatchSize": 100_000, "logicalSessionTimeoutMinutes": 30,
                "minWireVersion": 0, "maxWireVersion": 21, "ok": 1.0,
            };
            if is_primary.is_some() {
                let member = address.to_string();
                hello.extend(doc! {
                    "setName": "rs0", "secondary": !is_writable, "me": &member,
                    "hosts": [member],
                });
            }
            if play.is_router {
                hello.insert("msg", "isdbgrid");
            }
            hello
        }
        "replSetGetStatus" => {
            let at = |increment| {
                let time = Timestamp { time: 1_770_000_000, increment };
                doc! { "ts": Bson::Timestamp(time), "t": 1_i64 }
            };
            if play.is_flushed && play.lag > 0 {
                play.lag -= 1;
            } else if play.is_flushed {
                play.durable = play.applied;
            }
            let committed = if play.is_cut_off { 2 } else { play.durable };
            doc! { "ok": 1.0, "set": "rs0", "optimes": {
                "lastCommittedOpTime": at(committed), "appliedOpTime": at(play.applied),
                "durableOpTime": at(play.durable),
            } }
        }
        "fsync" => {
            play.is_flushed = true;
            doc! { "ok": 1.0, "numFiles": 1 }
        }
        "replSetStepDown" => {
            play.is_primary = Some(false);
            if play.closes_at_step_down {
                return None;
            }
            doc! { "ok": 1.0 }
        }
        "shutdown" => {
            play.is_stopped = true;
            drop(play);
            // The one that accepts has to hear of it.
            drop(TcpStream::connect(address));
            return None;
        }
        // What drivers say at the end.
        _ => doc! { "ok": 1.0 },
    })
}

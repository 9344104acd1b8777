//! What a plugin can do to others. Each attempt is told by the error that it met; one that went
//! well is told as null.

use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;

use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, Signal};
use rustix::thread::{Uid, set_thread_res_uid};
use serde_json::{Value, json};

/// `MSG_FASTOPEN` of `linux/socket.h`: connects with the first bytes that are sent.
const FAST_OPEN: SendFlags = SendFlags::from_bits_retain(0x2000_0000);

/// The ways to the address `config.address`.
pub(crate) fn reach(config: &Value) -> Value {
    let text = config["address"].as_str().unwrap_or_default();
    let Ok(address) = text.parse::<SocketAddr>() else { return Value::Null };
    let mapped: SocketAddr =
        format!("[::ffff:{}]:{}", address.ip(), address.port()).parse().unwrap_or(address);
    json!({
        "tcp": told(TcpStream::connect(address)),
        "mapped": told(TcpStream::connect(mapped)),
        "multipath": told(multipath(&address)),
        "fast_open": told(fast_open(&address)),
        "datagram": told(UdpSocket::bind("0.0.0.0:0").and_then(|own| own.send_to(b"x", address))),
    })
}

fn multipath(address: &SocketAddr) -> rustix::io::Result<()> {
    let socket =
        rustix::net::socket(AddressFamily::INET, SocketType::STREAM, Some(ipproto::MPTCP))?;
    rustix::net::connect(&socket, address)
}

fn fast_open(address: &SocketAddr) -> rustix::io::Result<usize> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    rustix::net::sendto(&socket, b"GET / HTTP/1.0\r\n\r\n", FAST_OPEN, address)
}

/// Attacks on the process `config.pid`, and on the directories `config.state` and
/// `config.plugins`.
pub(crate) fn daemon(config: &Value) -> Value {
    let number = config["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    let Some(pid) = number.and_then(Pid::from_raw) else { return Value::Null };
    let of_process = |name: &str| format!("/proc/{}/{name}", pid.as_raw_nonzero());
    let in_directory = |key: &str| Path::new(config[key].as_str().unwrap_or_default()).join("x");
    let memory = OpenOptions::new().read(true).write(true).open(of_process("mem"));
    let descriptor = rustix::process::pidfd_open(pid, PidfdFlags::empty())
        .and_then(|process| rustix::process::pidfd_getfd(process, 0, PidfdGetfdFlags::empty()));
    let other = Uid::from_raw(63_999);
    json!({
        "kill": told(rustix::process::kill_process(pid, Signal::CONT)),
        "memory": told(memory),
        "environment": told(fs::read(of_process("environ"))),
        "descriptor": told(descriptor),
        "state": told(File::create(in_directory("state"))),
        "plugins": told(File::create(in_directory("plugins"))),
        "user": told(set_thread_res_uid(other, other, other)),
    })
}

/// Writes to files in `config.write` and in its own directory, reads the files `config.read`.
pub(crate) fn files(config: &Value) -> Value {
    let paths = |key: &str| config[key].as_array().cloned().unwrap_or_default();
    let mut refused = serde_json::Map::new();
    for path in paths("write").iter().filter_map(Value::as_str) {
        refused.insert(path.to_owned(), told(fs::write(Path::new(path).join("x"), "x")));
    }
    for path in paths("read").iter().filter_map(Value::as_str) {
        refused.insert(path.to_owned(), told(fs::read(path)));
    }
    let own = std::env::vars().find(|(name, _)| name == "TMPDIR").map(|(_, value)| value);
    if let Some(own) = own {
        refused.insert("own".to_owned(), told(fs::write(Path::new(&own).join("x"), "x")));
        refused.insert("place".to_owned(), own.into());
    }
    refused.into()
}

fn told<T>(attempt: Result<T, impl Display>) -> Value {
    attempt.err().map_or(Value::Null, |error| error.to_string().into())
}

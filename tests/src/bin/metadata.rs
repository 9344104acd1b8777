//! The fake metadata service at an address of its own, and whoever drives it from beside it:
//! `metadata ADDRESS` serves, `metadata ADDRESS PATH BODY` puts the body there.

use std::io::{self, BufRead as _, BufReader, Error, Write as _};
use std::net::{SocketAddr, TcpStream};

use snooze_imds::fake::Server;

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let address = args.next().and_then(|text| text.parse::<SocketAddr>().ok());
    let address = address.ok_or(Error::other("expected ADDRESS [PATH BODY]"))?;
    match (args.next(), args.next()) {
        (Some(path), body) => put(address, &path, &body.unwrap_or_default()),
        (None, _) => serve(address),
    }
}

/// Serves until it is killed.
fn serve(address: SocketAddr) -> io::Result<()> {
    let _server = Server::spawn_on(address)?;
    writeln!(io::stdout(), "serving {address}")?;
    loop {
        std::thread::park();
    }
}

fn put(address: SocketAddr, path: &str, body: &str) -> io::Result<()> {
    let mut service = TcpStream::connect(address)?;
    let length = body.len();
    write!(
        service,
        "PUT {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )?;
    // It keeps the connection open.
    let mut status = String::new();
    BufReader::new(service).read_line(&mut status)?;
    if status.contains(" 2") { Ok(()) } else { Err(Error::other(status)) }
}

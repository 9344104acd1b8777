//! What goes over the network, both ways together.

use std::time::Duration;

use super::Figure;
use super::rates::{Kind, Rates};
use crate::idle::files::Files;

/// Names of interfaces that only carry what goes over another one, or nothing, as they begin:
/// used where no interface has a device, as in a container.
const VIRTUAL: [&str; 17] = [
    "br-",
    "bond",
    "cali",
    "cilium",
    "cni",
    "docker",
    "dummy",
    "flannel",
    "gre",
    "ifb",
    "nodelocal",
    "podman",
    "tap",
    "tun",
    "veth",
    "virbr",
    "wg",
];

pub(super) fn sample(
    rates: &mut Rates,
    files: &mut Files,
    excluded: &[String],
    at: Duration,
) -> Figure {
    let text = files.text("proc/net/dev")?.into_owned();
    // Two lines are the heading.
    for line in text.lines().skip(2) {
        let (name, bytes) =
            traffic(line).ok_or("`/proc/net/dev` has a line that is none of an interface")?;
        rates.see(name, bytes, || match excluded.iter().any(|pattern| fits(pattern, name)) {
            true => Kind::No,
            false => kind(name, files),
        });
    }
    rates.rate(at, "no interface but the loopback and those that are left out")
}

/// The name of an interface, and the bytes that it received and sent.
fn traffic(line: &str) -> Option<(&str, u64)> {
    let (name, counters) = line.rsplit_once(':')?;
    let mut counters = counters.split_ascii_whitespace();
    let received: u64 = counters.next()?.parse().ok()?;
    let sent: u64 = counters.nth(7)?.parse().ok()?;
    Some((name.trim(), received.saturating_add(sent)))
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}

/// An interface with a device is real, unless its master is one too: of the two interfaces of
/// accelerated networking on Azure, both count each byte.
fn kind(name: &str, files: &Files) -> Kind {
    if name == "lo" {
        return Kind::No;
    }
    let is_there = |path: &str| files.exists(&format!("sys/class/net/{name}/{path}"));
    match (is_there("device"), is_there("master/device")) {
        (true, false) => Kind::Real,
        (true, true) => Kind::No,
        (false, _) if VIRTUAL.iter().any(|beginning| name.starts_with(beginning)) => Kind::No,
        (false, _) => Kind::Perhaps,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_both_ways_of_an_interface_are_added() {
        let line = "  eth0: 3505962232  107969    0    0    0     0          0         0  7007579   \
                    59632    0    0    0     0       0          0";
        assert_eq!(traffic(line), Some(("eth0", 3_512_969_811)));
        // An old kernel leaves no space; an alias has a colon.
        assert_eq!(traffic("eth0:1:5 0 0 0 0 0 0 0 6 0"), Some(("eth0:1", 11)));
        for weird in ["", "eth0", "eth0:", "eth0: 1 2 3 4 5 6 7 8", "eth0: x 0 0 0 0 0 0 0 6"] {
            assert_eq!(traffic(weird), None, "{weird}");
        }
    }
}

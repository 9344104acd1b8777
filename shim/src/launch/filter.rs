//! System calls that a plugin without the whole network may not make.
//!
//! Landlock rules over the ports of TCP alone, and neither over multipath TCP (since Linux 6.14)
//! nor over what a first packet carries (TCP fast open): both were tried on Linux 6.18, in 2026-11.
//! So these are refused, together with `io_uring`, which makes calls that no filter sees.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::Fault;
use crate::sandbox::Network;

/// `socket(domain, type, protocol)`, `sendto(_, _, _, flags, …)` and their like by position.
const DOMAIN: u8 = 0;
const PROTOCOL: u8 = 2;

/// `MSG_FASTOPEN` of `linux/socket.h`.
const FAST_OPEN: u64 = 0x2000_0000;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Puts the filter on this thread, for good.
pub(super) fn install(network: &Network) -> Result<(), Fault> {
    let rules = match network {
        Network::Any => return Ok(()),
        Network::Ports(_) => ports_only(),
        Network::None => no_network(),
    };
    let rings = Rules::from([(libc::SYS_io_uring_setup, Vec::new())]);
    for (rules, error) in [(rules.map_err(cannot)?, libc::EACCES), (rings, libc::ENOSYS)] {
        let program = program(rules, error).map_err(cannot)?;
        seccompiler::apply_filter(&program).map_err(cannot)?;
    }
    Ok(())
}

/// Sockets that are files, and questions to the kernel about addresses, are no network.
fn no_network() -> Result<Rules, seccompiler::BackendError> {
    let elsewhere = [not(DOMAIN, libc::AF_UNIX)?, not(DOMAIN, libc::AF_NETLINK)?];
    Ok([(libc::SYS_socket, vec![SeccompRule::new(elsewhere.into())?])].into())
}

fn ports_only() -> Result<Rules, seccompiler::BackendError> {
    let internet = [libc::AF_INET, libc::AF_INET6];
    let mut elsewhere = vec![not(DOMAIN, libc::AF_UNIX)?, not(DOMAIN, libc::AF_NETLINK)?];
    for family in internet {
        elsewhere.push(not(DOMAIN, family)?);
    }
    let mut sockets = vec![SeccompRule::new(elsewhere)?];
    for family in internet {
        let mut other = vec![is(DOMAIN, family)?];
        // The default of the type is one of the two others.
        for protocol in [0, libc::IPPROTO_TCP, libc::IPPROTO_UDP] {
            other.push(not(PROTOCOL, protocol)?);
        }
        sockets.push(SeccompRule::new(other)?);
    }
    let mut rules = Rules::from([(libc::SYS_socket, sockets)]);
    let sends = [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)];
    for (call, flags) in sends {
        let has_flag = SeccompCmpOp::MaskedEq(FAST_OPEN);
        let fast = SeccompCondition::new(flags, SeccompCmpArgLen::Dword, has_flag, FAST_OPEN)?;
        rules.insert(call, vec![SeccompRule::new(vec![fast])?]);
    }
    Ok(rules)
}

fn not(argument: u8, value: i32) -> Result<SeccompCondition, seccompiler::BackendError> {
    compare(argument, SeccompCmpOp::Ne, value)
}

fn is(argument: u8, value: i32) -> Result<SeccompCondition, seccompiler::BackendError> {
    compare(argument, SeccompCmpOp::Eq, value)
}

fn compare(
    argument: u8,
    how: SeccompCmpOp,
    value: i32,
) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, how, value.unsigned_abs().into())
}

/// Calls that match a rule, or have none, fail with `error`; all others go on.
fn program(rules: Rules, error: i32) -> Result<BpfProgram, seccompiler::BackendError> {
    let target: TargetArch = std::env::consts::ARCH.try_into()?;
    let refused = SeccompAction::Errno(error.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, refused, target)?.try_into()
}

fn cannot(source: impl std::fmt::Display) -> Fault {
    Fault::CannotStart(format!("filter of system calls: {source}"))
}

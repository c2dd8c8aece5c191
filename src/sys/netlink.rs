//! netlink(7): requests to the kernel, and what it answers.

use std::io;

use rustix::fd::OwnedFd;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// Size of `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;
/// Of the kind of an attribute: that its value is attributes itself, and its byte order, are no part of it.
const KIND_MASK: u16 = 0x3fff;

/// Appends a `struct nlattr` and its value, padded to four bytes.
pub(crate) fn attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = u16::try_from(4 + value.len()).expect("names and kinds are short");
    to.extend(len.to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(to.len().next_multiple_of(4), 0);
}

/// The attributes, each with its kind and its value; it ends at what is none.
pub(crate) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
        let value = rest.get(4..len)?;
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & KIND_MASK, value))
    })
}

/// The machine's own word at a place.
pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_ne_bytes(bytes))
}

/// Sends one request and waits for the kernel's answer, which it has ready when the call returns. No protocol
/// is the first of netlink's, NETLINK_ROUTE.
pub(crate) fn ask(
    protocol: Option<Protocol>,
    kind: u16,
    flags: i32,
    body: &[u8],
) -> io::Result<()> {
    let socket = open(protocol)?;
    let message = request(kind, flags | libc::NLM_F_ACK, body);
    send(&socket, &message, SendFlags::empty())?;
    let mut answer = [0_u8; 1024];
    let (read, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    let code = match message_of(&answer[..read]) {
        Some((kind, body, _)) if i32::from(kind) == libc::NLMSG_ERROR => word(body, 0),
        _ => None,
    };
    match code {
        None => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "unreadable netlink answer",
        )),
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code.cast_signed())),
    }
}

/// Asks for all there is of something; `each` gets the kind and the body of every message.
pub(crate) fn dump(
    protocol: Option<Protocol>,
    kind: u16,
    body: &[u8],
    mut each: impl FnMut(u16, &[u8]),
) -> io::Result<()> {
    let socket = open(protocol)?;
    let message = request(kind, libc::NLM_F_DUMP, body);
    send(&socket, &message, SendFlags::empty())?;
    // The kernel fills at most 32 KiB in one go (netlink_dump).
    let mut answer = vec![0_u8; 64 << 10];
    loop {
        let (read, _) = recv(&socket, answer.as_mut_slice(), RecvFlags::empty())?;
        let mut rest = &answer[..read];
        while let Some((kind, body, next)) = message_of(rest) {
            rest = next;
            match i32::from(kind) {
                libc::NLMSG_DONE => return Ok(()),
                libc::NLMSG_ERROR => {
                    let code = word(body, 0).unwrap_or_default();
                    return Err(io::Error::from_raw_os_error(-code.cast_signed()));
                }
                _ => each(kind, body),
            }
        }
    }
}

/// The first message: its kind, its body, and what comes behind it.
pub(crate) fn message_of(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let len = usize::try_from(word(bytes, 0)?).ok()?;
    let body = bytes.get(HEADER_BYTES..len)?;
    let kind = u16::from_ne_bytes([bytes[4], bytes[5]]);
    let next = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, body, next))
}

pub(crate) fn open(protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC, protocol)?)
}

fn request(kind: u16, flags: i32, body: &[u8]) -> Vec<u8> {
    let flags =
        u16::try_from(flags | libc::NLM_F_REQUEST).expect("the flags of netlink have 16 bits");
    let len = u32::try_from(HEADER_BYTES + body.len()).expect("a request is short");
    let mut message = len.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // Number of the message, and of the port that the kernel chooses.
    message.extend([1, 0, 0, 0, 0, 0, 0, 0]);
    message.extend(body);
    message
}

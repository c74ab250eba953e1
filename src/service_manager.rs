//! The service manager that started the exporter: systemd, with `Type=notify` in the unit.

use std::{
    env,
    ffi::OsStr,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use anyhow::{Context, Result};

use crate::log;

/// How long to wait for room in the service manager's queue, which can be full while a system
/// starts.
const SEND_TIME: Duration = Duration::from_secs(1);

/// Notifies the service manager, if there is one, that the exporter answers and handles signals.
/// Until then, `systemctl start` waits; if the exporter exits before, `systemctl start` fails. The
/// protocol is that of sd_notify(3): a datagram to the socket that `NOTIFY_SOCKET` names.
pub(crate) fn ready() {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket, b"READY=1") {
        log::warn(&format!("{error:#}"));
    }
}

fn send(socket: &OsStr, message: &[u8]) -> Result<()> {
    // A name in the abstract namespace begins with @.
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(socket),
    };
    let sent = address.and_then(|address| {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_TIME))?;
        socket.send_to_addr(message, &address)
    });
    sent.with_context(|| {
        format!("the service manager was not notified over {}", socket.to_string_lossy())
    })?;
    Ok(())
}

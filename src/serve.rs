//! Puts the parts together, and takes them apart when a signal says so.

use std::{
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::OwnedFd,
    process::{self, ExitCode},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{
    cache::Cache,
    cli::{Config, NAME},
    clock::{self, Clock},
    command::child::{Running, W},
    door,
    front::Front,
    http::limits::WRITE_TIME,
    log, metrics,
    scrape::{Scraper, Snapshot},
    site::Site,
};

/// How long a stop waits for the answers under way; then `w` is killed, and those that waited for it get what is left.
const STOP_TIME: Duration = Duration::from_millis(400);

/// Runs `w` once and gives its result.
///
/// # Errors
/// The signals can't be caught.
pub fn once(config: &Config) -> Result<Snapshot> {
    let running = Arc::new(Running::default());
    let mut scraper = scraper(config, &running);
    on_stop(move |_| {
        running.stop();
        process::exit(1);
    })?;
    Ok(scraper.scrape())
}

/// Serves until SIGTERM, SIGINT or SIGHUP.
///
/// # Errors
/// The address can't be bound, the system gives no threads or descriptors, or the serving loop is lost.
pub fn serve(config: &Config) -> Result<ExitCode> {
    let listener = bind(&config.host, config.port)?;
    let running = Arc::new(Running::default());
    let cache = Cache::new(config.interval, system_clock(), scraper(config, &running));
    let site = Arc::new(Site::new(cache, system_clock(), config.endpoint.clone(), &config.metrics));
    let (door, inside) = door::open()?;
    let front = Front::new(Arc::clone(&site), door);
    let address = listener.local_addr().context("the address that was bound can't be read")?;
    let shut = listener.try_clone().context("the listening socket can't be shared")?;
    let guarded = Arc::clone(&front);
    on_stop(move |signal| stop(signal, shut, &guarded, &running))?;
    let accepting = thread::Builder::new().spawn(move || front.accept(&listener));
    accepting.context("no thread can be started")?;
    log::line(&format!(
        "{NAME} {} listens on http://{address}{}",
        metrics::VERSION,
        config.endpoint
    ));
    match inside.run(&site)? {}
}

fn scraper(config: &Config, running: &Arc<Running>) -> Scraper {
    let mut w = W::new(&config.w_command, config.w_timeout, Arc::clone(running));
    Scraper::new(Box::new(move || w.run()), system_clock(), config.metrics.clone())
}

fn system_clock() -> Clock {
    Box::new(clock::system)
}

/// Both options are inherited by the connections that it accepts.
fn bind(host: &str, port: u16) -> Result<TcpListener> {
    let listener = TcpListener::bind((host, port));
    let listener = listener.with_context(|| {
        format!("can't listen on {host} port {port} (--listen.host, --listen.port)")
    })?;
    // Else, beyond the 128 that wait to be accepted in a flood, a client must try again a second later.
    rustix::net::listen(&listener, 4096)
        .context("the queue of connections can't be made longer")?;
    // Else an answer on a kept connection waits 40 ms for the client's acknowledgement.
    rustix::net::sockopt::set_tcp_nodelay(&listener, true).context("TCP_NODELAY can't be set")?;
    // Bounds each write; the front bounds the whole answer.
    rustix::net::sockopt::set_socket_timeout(
        &listener,
        rustix::net::sockopt::Timeout::Send,
        Some(WRITE_TIME),
    )
    .context("SO_SNDTIMEO can't be set")?;
    Ok(listener)
}

/// Calls back at SIGTERM, SIGINT or SIGHUP, in a thread of its own; as PID 1 too, where none of them ends a process by itself.
fn on_stop(stop: impl FnOnce(i32) + Send + 'static) -> Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).context("signals can't be caught")?;
    let waiting = thread::Builder::new().spawn(move || {
        if let Some(signal) = signals.forever().next() {
            stop(signal);
        }
    });
    waiting.context("no thread can be started")?;
    Ok(())
}

/// Lets nobody in any more, gives those who are being answered their answers, and ends the process within a second.
fn stop(signal: i32, listener: TcpListener, front: &Front, running: &Running) {
    let name = match signal {
        SIGTERM => "SIGTERM",
        SIGINT => "SIGINT",
        _ => "SIGHUP",
    };
    log::line(&format!("stops at {name}"));
    let _ = TcpStream::from(OwnedFd::from(listener)).shutdown(Shutdown::Both);
    wait_for_answers(front);
    running.stop();
    wait_for_answers(front);
    process::exit(0);
}

fn wait_for_answers(front: &Front) {
    let deadline = Instant::now() + STOP_TIME;
    while front.busy() > 0 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
}

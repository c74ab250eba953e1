//! The loop. It takes one request after the other, routes it, and answers it from the cache or runs
//! `w`. Only this loop runs `w`.

use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    process::{self, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    about::{NAME, VERSION},
    answers::Answers,
    cache::Cache,
    cli::Config,
    clock::{self, Clock},
    collector::{Collector, History},
    command::{
        W,
        child::{Meanwhile, Next, Running},
        is_plain_w,
    },
    exposition::Format,
    http::{Accepting, Access, Listener, Reply, Request, Requests},
    landing_page, log,
    metrics::Options,
    service_manager, signals,
    visibility::Visibility,
};

/// How long a stop waits for answers in progress. Then `w` is killed, and requests that waited for
/// it get the same time again.
const STOP_TIME: Duration = Duration::from_millis(400);

/// Runs `w` once and returns what a client would get.
///
/// # Errors
/// No handler for the signals can be installed.
pub fn once(config: &Config) -> Result<Answers> {
    let running = Running::default();
    let mut collector = collector(config, &running);
    signals::on_stop(move |_| {
        running.stop();
        process::exit(1);
    })?;
    let snapshot = collector.collect(&mut |_| Next::Wait).context("w was not run")?;
    Ok(snapshot.into())
}

/// Serves until a signal says to stop.
///
/// # Errors
/// The address cannot be bound, the system provides no threads or descriptors, or the loop cannot
/// go on.
pub fn serve(config: Config) -> Result<ExitCode> {
    let running = Running::default();
    let collector = collector(&config, &running);
    let settings = config.described();
    let (mut exporter, accepting) = Exporter::start(config, collector)?;
    signals::on_stop(move |signal| stop(signal, accepting, &running))?;
    service_manager::ready();
    log::info(&format!(
        "{NAME} {VERSION} listens on {}://{}{}{settings}",
        exporter.scheme, exporter.address, exporter.site.page.endpoint
    ));
    match exporter.answer_all()? {}
}

fn collector(config: &Config, running: &Running) -> Collector {
    let mut w = W::new(&config.w_command, config.w_timeout, running.clone());
    let run_w = move |meanwhile: &mut Meanwhile| w.run(meanwhile);
    let collector = Collector::new(Box::new(run_w), system_clock(), config.options());
    if is_plain_w(&config.w_command) { collector.looking(Visibility::look) } else { collector }
}

/// The host name, which in a container is the container's.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "this host".to_owned() } else { name.trim().to_owned() }
}

fn system_clock() -> Clock {
    Box::new(clock::system)
}

/// Accepts no new connections, finishes the answers in progress, and ends the process within a
/// second.
fn stop(signal: &str, mut accepting: Accepting, running: &Running) {
    log::info(&format!("stopping on {signal}"));
    accepting.stop();
    accepting.wait_until_answered(STOP_TIME);
    running.stop();
    accepting.wait_until_answered(STOP_TIME);
    process::exit(0);
}

/// A listening exporter. It owns everything that the loop uses.
pub struct Exporter {
    /// The address that it listens on. If the host name has several, the first one.
    pub address: SocketAddr,
    /// `http`, or `https` if it speaks TLS.
    pub scheme: &'static str,
    requests: Requests,
    cache: Cache,
    site: Site,
}

/// What is served under which path.
struct Site {
    options: Options,
    page: landing_page::Settings,
}

/// What a path stands for.
#[derive(Clone, Copy)]
enum Route {
    Metrics,
    LandingPage,
}

impl Exporter {
    /// Listens. It answers nothing and runs nothing yet.
    ///
    /// # Errors
    /// The address cannot be bound, or the system provides no threads or descriptors.
    pub fn start(config: Config, collector: Collector) -> Result<(Exporter, Accepting)> {
        let options = config.options();
        let named = [config.source("--listen.host"), config.source("--listen.port")].join(", ");
        let listener = Listener::bind(&config.listen_host, config.listen_port, &named)?;
        let address = listener.address;
        let scheme = config.web_config_file.as_ref().map_or("http", Access::scheme);
        let (accepting, requests) = listener.start(config.web_config_file)?;
        let cache = Cache::new(config.scrape_interval, system_clock(), collector);
        let page = landing_page::Settings {
            host: host_name(),
            endpoint: config.metrics_endpoint,
            interval: config.scrape_interval,
            command: config.metrics_command,
        };
        let site = Site { options, page };
        Ok((Exporter { address, scheme, requests, cache, site }, accepting))
    }

    /// Answers requests, one after the other.
    ///
    /// # Errors
    /// The loop cannot go on, so no request is answered any more.
    pub fn answer_all(&mut self) -> Result<Infallible> {
        loop {
            let request = self.requests.next()?;
            let Some(route) = self.site.route(request.path()) else {
                request.respond(not_found());
                continue;
            };
            match self.cache.fresh(request.question().read_at) {
                Some(answers) => self.site.answer(route, request, answers),
                None => self.answer_after_run(route, request)?,
            }
        }
    }

    /// Runs `w` and answers all requests that arrived before it ended. A request that cannot wait
    /// so long is answered in time, without sessions.
    fn answer_after_run(&mut self, route: Route, first: Request) -> Result<()> {
        let mut waiting = vec![(route, first)];
        let mut lost = Ok(());
        let (site, requests) = (&self.site, &self.requests);
        let answers = self.cache.refresh(&mut |history| {
            if let Err(error) = site.take_arrived(requests, &mut waiting) {
                lost = Err(error);
                return Next::GiveUp;
            }
            site.answer_those_that_cannot_wait(&mut waiting, history);
            if waiting.is_empty() { Next::GiveUp } else { Next::Wait }
        });
        if let Some(answers) = answers {
            for (route, request) in waiting {
                site.answer(route, request, answers);
            }
        }
        lost
    }
}

impl Site {
    fn route(&self, path: &str) -> Option<Route> {
        match path {
            path if path == self.page.endpoint => Some(Route::Metrics),
            "/" => Some(Route::LandingPage),
            _ => None,
        }
    }

    /// Takes the requests that have arrived while `w` runs. Forgets clients that have hung up,
    /// except the first: its run continues.
    fn take_arrived(&self, requests: &Requests, waiting: &mut Vec<(Route, Request)>) -> Result<()> {
        let mut is_first = true;
        waiting.retain(|(_, request)| std::mem::take(&mut is_first) || request.is_awaited());
        while let Some(request) = requests.try_next()? {
            match self.route(request.path()) {
                Some(route) => waiting.push((route, request)),
                None => request.respond(not_found()),
            }
        }
        Ok(())
    }

    fn answer_those_that_cannot_wait(
        &self,
        waiting: &mut Vec<(Route, Request)>,
        history: &mut History,
    ) {
        let now = Instant::now();
        let late =
            |request: &Request| request.question().deadline.is_some_and(|deadline| deadline <= now);
        let all = std::mem::take(waiting).into_iter();
        let (cut, left) = all.partition::<Vec<_>, _>(|(_, request)| late(request));
        *waiting = left;
        for (route, request) in cut {
            self.answer(route, request, &history.timed_out().into());
        }
    }

    fn answer(&self, route: Route, request: Request, answers: &Answers) {
        let reply = match route {
            Route::Metrics => {
                let format = Format::accepted(&request.question().accept);
                Reply {
                    status: 200,
                    reason: "OK",
                    headers: vec![("Content-Type", format.content_type()), ("Vary", "Accept")],
                    body: answers.metrics(format, &self.options),
                }
            }
            Route::LandingPage => Reply {
                status: 200,
                reason: "OK",
                headers: vec![
                    ("Content-Type", "text/html; charset=utf-8"),
                    ("Content-Security-Policy", landing_page::SECURITY_POLICY),
                    ("X-Content-Type-Options", "nosniff"),
                    ("Referrer-Policy", "no-referrer"),
                ],
                body: answers.page(&self.page),
            },
        };
        request.respond(reply);
    }
}

fn not_found() -> Reply {
    Reply::text(404, "Not Found", "not found\n")
}

//! The loop. It takes one request after the other, routes it, and answers it from the cache, or lets
//! it wait for a run of `w`.

use std::{
    convert::Infallible,
    fs, hint, mem,
    net::SocketAddr,
    process::{self, ExitCode},
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

use crate::{
    about::{NAME, VERSION},
    answers::Answers,
    builtin::Extras,
    cache::Cache,
    cli::Config,
    clock,
    collector::Collector,
    command::{Command, StopFlag, StopHandle, W, stop_flag},
    exposition::Format,
    http::{Access, Listener, Reply, Request, Requests, Shutdown},
    landing_page, log,
    metrics::Options,
    missing_terminals::MissingTerminals,
    runner::{Printed, RunW, Runner},
    service_manager,
    session::CommandShown,
    signals,
    visibility::Visibility,
};

/// How long a stop waits for answers in progress. Then `w` is killed, and requests that waited for
/// it get the same time again.
const STOP_TIME: Duration = Duration::from_millis(400);

/// How long a stop waits until the processes of `w` are killed.
const KILL_TIME: Duration = Duration::from_millis(100);

/// The address space that a start needs: ten stacks of 2 MiB, and some for what is allocated. More
/// than 32 MiB, because glibc's allocator keeps smaller blocks once it has seen one of their size.
const START_MEMORY: usize = 33 << 20;

/// The path of the status page.
const LANDING_PAGE: &str = "/";

/// Runs `w` once and returns what a client would get, less what it would tell of this process.
///
/// # Errors
/// The signals that stop it cannot be handled.
pub fn once(config: &Config) -> Result<Answers> {
    signals::reset()?;
    let (stop, flag) = stop_flag()?;
    signals::on_stop(move |_| {
        stop.stop(KILL_TIME);
        process::exit(1);
    })?;
    let mut collector = collector(config);
    let printed = runs_of_w(config, flag)();
    let mut snapshot = collector.ended(clock::system(), printed);
    snapshot.process = None;
    Ok(snapshot.into())
}

/// Serves until a signal says to stop.
///
/// # Errors
/// The address cannot be bound, the system provides too few threads, descriptors or memory, or the
/// loop cannot go on.
pub fn serve(config: Config) -> Result<ExitCode> {
    there_is_enough_memory()?;
    signals::reset()?;
    let (stop_w, flag) = stop_flag()?;
    let (listens, listening) = mpsc::channel();
    // Before the port opens, so that whoever sees it open can stop the program.
    signals::on_stop(move |signal| stop(signal, listening.try_recv().ok(), stop_w))?;
    let settings = config.described();
    let (collector, run_w) = (collector(&config), runs_of_w(&config, flag));
    let (mut exporter, shutdown) = Exporter::start(config, collector, run_w)?;
    // If nobody receives it, the process is ending.
    let _ = listens.send(shutdown);
    service_manager::ready();
    log::info(&format!(
        "{NAME} {VERSION} listens on {}://{}{}{settings}",
        exporter.scheme, exporter.address, exporter.site.page.endpoint
    ));
    match exporter.answer_all()? {}
}

/// Checks that there is address space for the stacks of the threads and the output of `w`. Later, an
/// allocation that fails can end this process without a message that helps.
fn there_is_enough_memory() -> Result<()> {
    let mut room = Vec::<u8>::new();
    room.try_reserve_exact(START_MEMORY)
        .context("there is too little memory; raise the limit (ulimit -v)")?;
    // Otherwise the compiler removes the allocation, because nothing uses it.
    hint::black_box(room);
    Ok(())
}

fn runs_of_w(config: &Config, flag: StopFlag) -> RunW {
    let command = config.command();
    let is_installed_here = command.is_of_this_host() && command != Command::Builtin;
    let extras = Extras { what: config.metrics_command != CommandShown::None, unlisted: true };
    let mut w = W::new(command, extras, config.w_timeout, flag);
    let mut missing_terminals = MissingTerminals::default();
    Box::new(move || {
        let printed = w.run();
        match &printed {
            Ok(printed) if is_installed_here => {
                missing_terminals.check(printed, || w.run_builtin());
            }
            _ => {}
        }
        printed
    })
}

fn collector(config: &Config) -> Collector {
    let collector = Collector::new(clock::system(), config.options());
    if config.command().is_of_this_host() { collector.looking(Visibility::look) } else { collector }
}

/// The host name, which in a container is the container's.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "this host".to_owned() } else { name.trim().to_owned() }
}

/// Accepts no new connections, finishes the answers in progress, and ends the process within a
/// second.
fn stop(signal: &str, shutdown: Option<Shutdown>, stop_w: StopHandle) {
    log::info(&format!("stopping on {signal}"));
    if let Some(shutdown) = shutdown {
        shutdown.begin();
        shutdown.wait_until_answered(STOP_TIME);
        stop_w.stop(KILL_TIME);
        shutdown.wait_until_answered(STOP_TIME);
    }
    process::exit(0);
}

/// A listening exporter. It owns everything that the loop uses.
pub struct Exporter {
    /// The address that it listens on. If the host name has several, the first one.
    pub address: SocketAddr,
    /// `http`, or `https` if it speaks TLS.
    pub scheme: &'static str,
    requests: Requests,
    runner: Runner,
    /// The clients that wait for the current run; `None` if `w` does not run.
    waiting: Option<Vec<(Route, Request)>>,
    collector: Collector,
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
    pub fn start(
        config: Config,
        collector: Collector,
        run_w: RunW,
    ) -> Result<(Exporter, Shutdown)> {
        let options = config.options();
        let named = [config.source("--listen.host"), config.source("--listen.port")].join(", ");
        let listener = Listener::bind(&config.listen_host, config.listen_port, &named)?;
        let address = listener.address;
        let scheme = config.web_config_file.as_ref().map_or("http", Access::scheme);
        let paths = [config.metrics_endpoint.as_str(), LANDING_PAGE].map(str::to_owned);
        let (shutdown, requests) = listener.start(config.web_config_file, paths)?;
        let runner = Runner::start(run_w, requests.waker())?;
        let cache = Cache::new(config.scrape_interval);
        let page = landing_page::Settings {
            host: host_name(),
            endpoint: config.metrics_endpoint,
            interval: config.scrape_interval,
            command: config.metrics_command,
        };
        let (site, waiting) = (Site { options, page }, None);
        let exporter =
            Exporter { address, scheme, requests, runner, waiting, collector, cache, site };
        Ok((exporter, shutdown))
    }

    /// Answers requests, one after the other.
    ///
    /// # Errors
    /// The loop cannot go on, so no request is answered any more.
    pub fn answer_all(&mut self) -> Result<Infallible> {
        loop {
            if let Some(request) = self.requests.next(self.next_deadline())? {
                self.take(request);
            }
            if let Some(printed) = self.runner.printed() {
                self.answer_waiting(printed);
            }
            self.answer_those_that_cannot_wait();
        }
    }

    /// When the first of the waiting clients must be answered.
    fn next_deadline(&self) -> Option<Instant> {
        let waiting = self.waiting.iter().flatten();
        waiting.filter_map(|(_, request)| request.question().deadline).min()
    }

    /// Answers a request, or lets it wait for the current run or the next one.
    fn take(&mut self, request: Request) {
        let route = self.site.route(request.path());
        if let Some(answers) = self.cache.fresh(request.question().read_at, clock::system()) {
            return self.site.answer(route, request, answers);
        }
        if self.waiting.is_none() {
            self.cache.clear();
            self.collector.begin(clock::system());
            self.runner.run();
        }
        let waiting = self.waiting.get_or_insert_default();
        // Those who have hung up leave their places to others.
        waiting.retain(|(_, request)| request.is_awaited());
        waiting.push((route, request));
    }

    /// Keeps the result of the run, and answers all who waited for it.
    fn answer_waiting(&mut self, printed: Printed) {
        let answers = self.cache.keep(self.collector.ended(clock::system(), printed));
        for (route, request) in self.waiting.take().into_iter().flatten() {
            self.site.answer(route, request, answers);
        }
    }

    /// Answers the scrapers whose own timeout ends before the run. It goes on without them.
    fn answer_those_that_cannot_wait(&mut self) {
        let Some(waiting) = &mut self.waiting else { return };
        let now = clock::system();
        let cannot_wait = |(_, request): &(Route, Request)| {
            request.question().deadline.is_some_and(|deadline| deadline <= now.instant)
        };
        if !waiting.iter().any(cannot_wait) {
            return;
        }
        let (late, left) = mem::take(waiting).into_iter().partition::<Vec<_>, _>(cannot_wait);
        *waiting = left;
        let answers = self.collector.answered_early(now).into();
        for (route, request) in late {
            self.site.answer(route, request, &answers);
        }
    }
}

impl Site {
    /// Only served paths come here.
    fn route(&self, path: &str) -> Route {
        if path == self.page.endpoint { Route::Metrics } else { Route::LandingPage }
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
                    ("Referrer-Policy", "no-referrer"),
                ],
                body: answers.page(&self.page),
            },
        };
        request.respond(reply);
    }
}

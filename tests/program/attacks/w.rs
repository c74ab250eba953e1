//! A `w` that fails in all ways, a thousand times.

use std::{collections::HashSet, fs, io::Write, net::TcpStream, process::Command, time::Duration};

use crate::{
    attacks::siege::{
        Address, Calm, Home, alone, binary, exporter, recovery, resident_is_bound, scrape,
        stops_at_once,
    },
    harness::{Exporter, FakeW, children, promised, sh, signal, until, within, write_script},
};

const HANGS: &str = "sleep 1000 & sleep 1000";
const HOLDS: &str = "setsid sleep 5 & cat $TABLE";
const FORKS_AWAY: &str = "setsid sleep 1 >/dev/null 2>&1 & cat $TABLE";
const IGNORES_SIGTERM: &str = "trap '' TERM; sleep 1000 & sleep 1000; sleep 1000";
const PRINTS_A_GIGABYTE: &str = "head -c 1000000000 /dev/zero";
const PRINTS_A_LINE_WITHOUT_END: &str = "cat $TABLE; exec tr '\\0' x </dev/zero";
const PRINTS_NOTHING: &str = "exit 0";
const CHANGES: &str = "head -n $((2 + $(wc -l <$DIR/runs) % 4)) $TABLE";
const FAILS: &str = "cat $TABLE; exit 1";

/// Each kind with its outcome and its share in percent.
const KINDS: [(&str, &str, u32); 9] = [
    (HANGS, "timeout", 1),
    (HOLDS, "timeout", 1),
    (IGNORES_SIGTERM, "timeout", 1),
    (FORKS_AWAY, "ok", 21),
    (PRINTS_A_GIGABYTE, "unreadable", 8),
    (PRINTS_A_LINE_WITHOUT_END, "unreadable", 8),
    (PRINTS_NOTHING, "unreadable", 16),
    (CHANGES, "ok", 28),
    (FAILS, "failed", 16),
];

/// A `w` that is each kind in turn, and records its process group.
fn of_all_kinds() -> FakeW {
    let mut script =
        String::from("echo $$ >>$DIR/groups\nn=$(wc -l <$DIR/runs)\ncase $((n % 100)) in\n");
    let mut number = 0;
    for (text, _, share) in KINDS {
        let numbers: Vec<String> =
            (number..number + share).map(|number| number.to_string()).collect();
        script.push_str(&format!("{}) {text} ;;\n", numbers.join("|")));
        number += share;
    }
    script.push_str("esac\n");
    FakeW::new(&script)
}

#[test]
#[ignore = "takes long"]
fn a_thousand_runs_leave_nothing_behind() {
    let _alone = alone();
    let fake = of_all_kinds();
    let mut exporter = exporter(&fake.command(), &["--scrape.interval=0", "--w.timeout=2s"]);
    let calm = Calm::of(&exporter);
    run_a_thousand(&exporter);
    let groups: HashSet<String> = fake.read("groups").lines().map(str::to_owned).collect();
    assert!(groups.len() >= 900, "{}", groups.len());
    within(recovery(), "all groups are gone", || {
        processes().all(|process| group(&process).is_none_or(|group| !groups.contains(&group)))
    });
    calm.uses_no_more(&exporter, recovery());
    let resident = exporter.status("VmHWM");
    println!("{resident} KB resident at most");
    // Up to 16 MiB of output are kept during a run, and nothing afterwards.
    assert!(resident_is_bound(resident, 32), "{resident} KB");
    assert!(resident_is_bound(exporter.status("VmRSS"), 16));
    stops_at_once(&mut exporter);
}

/// Starts it in a PID namespace where it inherits the processes that `w` leaves. Also returns its
/// number here.
fn as_pid_1(fake: &FakeW) -> (Exporter, String) {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
    let inside = binary();
    command.arg(inside.get_program()).args(inside.get_args());
    command.args(["--scrape.interval=0", "--w.timeout=2s", "--w.command", &fake.command()]);
    let exporter = Exporter::start(&mut command);
    let first = exporter.children().trim().to_owned();
    (exporter, first)
}

#[test]
#[ignore = "needs root"]
fn pid_1_collects_what_a_good_run_leaves_in_its_group_before_it_answers() {
    let _alone = alone();
    let fake = FakeW::new("sleep 1000 >/dev/null 2>&1 & sleep 1000 >/dev/null 2>&1 & cat $TABLE");
    let (mut exporter, first) = as_pid_1(&fake);
    for run in 0..20 {
        assert!(exporter.metrics().contains("user=\"alice\""), "{:?}", exporter.log());
        assert_eq!(children(&first), "", "run {run}");
    }
    assert!(signal("TERM", &first));
    assert_eq!(exporter.end().0, Some(0));
}

#[test]
#[ignore = "takes long, and needs root"]
fn a_thousand_runs_leave_nothing_behind_for_pid_1() {
    let _alone = alone();
    let fake = of_all_kinds();
    let (mut exporter, first) = as_pid_1(&fake);
    let descriptors = || fs::read_dir(format!("/proc/{first}/fd")).unwrap().count();
    scrape(exporter.address(), recovery()).unwrap();
    let before = descriptors();
    run_a_thousand(&exporter);
    within(recovery(), "descriptors as before", || descriptors() <= before);
    let namespace = fs::read_link(format!("/proc/{first}/ns/pid")).unwrap();
    let inhabitants = || {
        let links = processes().map(|process| fs::read_link(format!("/proc/{process}/ns/pid")));
        links.filter(|link| link.as_ref().is_ok_and(|link| *link == namespace)).count()
    };
    // Processes that left the group end by themselves. They are collected after the next run.
    within(recovery(), "it is the only process", || {
        scrape(exporter.address(), recovery()).unwrap();
        inhabitants() == 1
    });
    assert!(signal("TERM", &first));
    let (status, took) = exporter.end();
    assert_eq!(status, Some(0));
    assert!(took < promised(Duration::from_secs(1)), "{took:?}");
}

/// Scrapes until `w` ran a thousand more times, and compares the outcomes with those of the kinds.
fn run_a_thousand(exporter: &Exporter) {
    let counted = || -> Vec<u64> {
        // The result counts the run that made it.
        let metrics = exporter.metrics();
        let count = |outcome| {
            let name = format!("what_w_runs_total{{outcome=\"{outcome}\"}} ");
            metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
        };
        ["ok", "failed", "timeout", "unreadable"].map(count).to_vec()
    };
    let before = counted();
    for _ in 0..999 {
        assert_eq!(exporter.get("/metrics").status, 200);
    }
    let after = counted();
    for ((before, after), outcome) in
        before.iter().zip(&after).zip(["ok", "failed", "timeout", "unreadable"])
    {
        let share: u32 = KINDS.iter().filter(|kind| kind.1 == outcome).map(|kind| kind.2).sum();
        assert_eq!(after - before, u64::from(share) * 10, "{outcome}: {before:?} {after:?}");
    }
    println!("ok, failed, timeout, unreadable: {after:?}");
}

fn processes() -> impl Iterator<Item = String> {
    let names = fs::read_dir("/proc").unwrap().flatten();
    names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The process group of a process that still exists.
fn group(process: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, figures) = stat.rsplit_once(") ")?;
    figures.split(' ').nth(2).map(str::to_owned)
}

#[test]
fn it_stops_at_once_whatever_w_does() {
    for (script, _, _) in KINDS {
        let _alone = alone();
        let fake = FakeW::new(&format!("echo $$ >$DIR/group\n{script}"));
        let mut exporter = exporter(&fake.command(), &["--scrape.interval=0", "--w.timeout=1m"]);
        let mut stream = TcpStream::connect(exporter.address()).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        until("w runs", || !fake.read("group").is_empty());
        stops_at_once(&mut exporter);
        let of_w = fake.read("group").trim().to_owned();
        within(recovery(), "its group is gone", || {
            processes().all(|process| group(&process).is_none_or(|group| group != of_w))
        });
    }
}

/// A folder in which another user can start the exporter, and a program that becomes root.
fn home_with_root(name: &str) -> Home {
    let home = Home::new(name);
    sh(&home.0, "cp \"$(command -v setpriv)\" become-root && chmod 4755 become-root");
    home
}

/// The processes, other than zombies, that run `sleep` for this long.
fn sleepers(seconds: &str) -> Vec<String> {
    let command = format!("sleep\0{seconds}\0");
    let runs_it = |process: &String| {
        fs::read_to_string(format!("/proc/{process}/cmdline")).is_ok_and(|line| line == command)
    };
    processes().filter(runs_it).collect()
}

/// The exporter as an ordinary user, who may start the programs of this home.
fn as_a_user(home: &Home, timeout: &str, w: &str) -> Exporter {
    let mut command = home.command(54321, &[]);
    Exporter::start(command.args(["--w.timeout", timeout, "--w.command", w]))
}

const HEADER: &str = "USER     TTY      FROM             LOGIN@   IDLE   JCPU   PCPU WHAT";

/// A wrapper whose child became root, and has nothing to do with the table.
#[test]
#[ignore = "needs root"]
fn what_a_good_run_leaves_and_cannot_be_killed_is_not_joined_by_another() {
    let home = home_with_root("leaves");
    let script = home.0.join("w");
    let root = home.0.join("become-root").display().to_string();
    let leaves = format!("{root} --reuid=0 --clear-groups sleep 300.2 </dev/null >/dev/null 2>&1");
    // It ends when the other has become root.
    let is_root = "until grep -q '^Uid:[[:space:]]0' /proc/$!/status; do sleep 0.01; done";
    write_script(&script, &format!("#!/bin/sh\n{leaves} &\n{is_root}\necho '{HEADER}'\n"));
    let mut exporter = as_a_user(&home, "8s", &script.display().to_string());
    let metrics = exporter.metrics();
    assert!(metrics.contains("outcome=\"ok\"} 1\n"), "{metrics}{:#?}", exporter.log());
    for failed in 1..4 {
        let metrics = exporter.metrics();
        assert!(metrics.contains(&format!("outcome=\"failed\"}} {failed}\n")), "{metrics}");
        assert_eq!(sleepers("300.2").len(), 1);
    }
    let log = exporter.log();
    assert!(log[1].contains("processes of the last run go on and can't be killed"), "{log:#?}");
    assert!(signal("KILL", &sleepers("300.2").join(" ")));
    until("the next run", || exporter.metrics().contains("outcome=\"ok\"} 2\n"));
    stops_at_once(&mut exporter);
    signal("KILL", &sleepers("300.2").join(" "));
}

/// By itself, or as the child of a shell that can be killed.
#[test]
#[ignore = "needs root"]
fn a_w_that_became_root_is_not_joined_by_another_and_never_called_killed() {
    for (number, shell) in ["", "sh -c"].into_iter().enumerate() {
        let home = home_with_root(&number.to_string());
        let seconds = format!("300.{number}");
        let script = home.0.join("w");
        let become_root = home.0.join("become-root").display().to_string();
        let root = format!("{become_root} --reuid=0 --clear-groups sleep {seconds}");
        write_script(&script, &format!("#!/bin/sh\n{root}\nexit 1\n"));
        let w = if shell.is_empty() { root } else { script.display().to_string() };
        let mut exporter = as_a_user(&home, "2s", &w);
        for failed in 0..4 {
            let metrics = exporter.metrics();
            for (outcome, count) in [("timeout", 1), ("failed", failed)] {
                let line = format!("what_w_runs_total{{outcome=\"{outcome}\"}} {count}\n");
                assert!(metrics.contains(&line), "{w}: {metrics}");
            }
            assert_eq!(sleepers(&seconds).len(), 1, "{w}");
        }
        let log = exporter.log();
        assert_eq!(log.len(), 3, "{log:#?}");
        assert!(log[1].contains("did not end within 2 s (--w.timeout) and can't be killed"));
        assert!(
            log[2].contains("was not started: processes of the last run go on and can't be killed")
        );
        assert!(!log.iter().any(|line| line.contains("was killed")), "{log:#?}");
        assert!(signal("KILL", &sleepers(&seconds).join(" ")));
        until("it is gone", || sleepers(&seconds).is_empty());
        until("the next run", || {
            exporter.metrics().contains("what_w_runs_total{outcome=\"timeout\"} 2\n")
        });
        stops_at_once(&mut exporter);
        signal("KILL", &sleepers(&seconds).join(" "));
    }
}

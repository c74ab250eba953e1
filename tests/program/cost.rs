//! What a scrape costs the system.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use crate::{
    attacks::siege::crowd,
    harness::{Answer, Exporter, FakeW, folder, program},
};

const SCRAPES: u64 = 200;
const UNDER_WAY: u64 = 20;

#[test]
fn w_is_given_its_three_streams_and_no_descriptor_of_the_exporter() {
    let fake = FakeW::new("ls /proc/self/fd >$DIR/descriptors; cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &[]);
    let _another_client = exporter.connect();
    exporter.metrics();
    let given = fake.read("descriptors");
    // Descriptors of the shell and ls, and those inherited from the process that runs the test.
    let script = fake.folder.join("w");
    let mut alone = Command::new("sh");
    alone.arg(script).stdin(Stdio::null()).output().unwrap();
    assert_eq!(given, fake.read("descriptors"));
}

#[test]
fn a_result_takes_no_memory_while_the_next_one_is_made() {
    let w = format!("cat {}", crowd(&folder(), 20_000));
    // By default glibc's allocator keeps freed blocks: small ones for later, and large ones of sizes
    // that it has seen before. Here it returns them, so that what counts is what the program has
    // not freed.
    let keeps_nothing = ["mmap_threshold=131072", "tcache_count=0", "mxfast=0"];
    let keeps_nothing = keeps_nothing.map(|tunable| format!("glibc.malloc.{tunable}")).join(":");
    let mut command = program();
    command.env("GLIBC_TUNABLES", keeps_nothing);
    let exporter = Exporter::start(command.args(["--scrape.interval=0", "--w.command", &w]));
    let length = exporter.metrics().len() as u64;
    let first = exporter.status("VmHWM");
    for _ in 0..3 {
        exporter.metrics();
    }
    let most = exporter.status("VmHWM");
    println!("{first} KB, then {most} KB");
    assert!(most < first + length / 2 / 1024, "{first} KB, then {most} KB, for {length} bytes");
}

/// How often its threads have been given a processor, by the kernel's count.
fn wake_ups(exporter: &Exporter) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", exporter.pid())).unwrap().flatten();
    let statuses = tasks.map(|task| fs::read_to_string(task.path().join("status")).unwrap());
    let count = |status: String| -> u64 {
        let lines = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
        lines.map(|(_, count)| count.trim().parse::<u64>().unwrap()).sum()
    };
    statuses.map(count).sum()
}

#[test]
fn while_w_runs_nothing_wakes_up_to_see_whether_it_has_ended() {
    let fake = FakeW::new("sleep 3; cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &[]);
    let before = wake_ups(&exporter);
    assert!(exporter.metrics().contains("user=\"alice\""));
    let during = wake_ups(&exporter) - before;
    println!("{during} wake-ups in a run of 3 s");
    assert!(during < 60, "{during}");
}

/// `sendto` and one `recvfrom` pass the request to the loop. A pipe, which is read until it is empty,
/// wakes the thread that owns the clients. Other threads wait for each other with `futex`.
#[test]
#[ignore = "needs Debian's strace"]
fn a_cached_scrape_makes_no_system_call_but_those_of_its_sockets() {
    let fake = FakeW::new("cat $TABLE");
    let exporter = Exporter::of(&fake.command(), &["--scrape.interval=1h"]);
    let mut client = exporter.connect();
    let mut scrape = || {
        let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        client.write_all(request).unwrap();
        assert!(Answer::read_one(&mut client).body.contains("what_up"));
    };
    // The first one runs w. After the second, the connection gets a longer timeout.
    scrape();
    scrape();

    let counts = folder().join("counts");
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-c", "-U", "name,calls", "-o"])
        .arg(&counts)
        .args(["-p", &exporter.pid().to_string()]);
    let mut strace = strace.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(strace.stderr.take().unwrap()).lines();
    assert!(said.next().unwrap().unwrap().contains("attached"));
    (0..SCRAPES).for_each(|_| scrape());
    assert!(crate::harness::signal("INT", &strace.id().to_string()));
    strace.wait().unwrap();

    let counts = fs::read_to_string(counts).unwrap();
    println!("{counts}");
    let calls: BTreeMap<&str, u64> = counts
        .lines()
        .filter_map(|line| {
            let (name, calls) = line.trim().split_once(' ')?;
            Some((name, calls.trim().parse().ok()?))
        })
        .filter(|(name, _)| *name != "total")
        .collect();
    let expected = [
        ("writev", 1, 1),
        ("sendto", 1, 1),
        ("recvfrom", 2, 2),
        ("ppoll", 1, 2),
        ("write", 1, 1),
        ("read", 1, 1),
    ];
    for (name, least, most) in expected {
        let made = calls.get(name).copied().unwrap_or(0);
        // Each thread may have been in one call when strace began or ended.
        let bounds = least * SCRAPES - UNDER_WAY..=most * SCRAPES + UNDER_WAY;
        assert!(bounds.contains(&made), "{name}: {made} of {bounds:?}");
    }
    let waits = ["futex", "accept", "accept4", "restart_syscall"];
    let others: Vec<_> = calls
        .keys()
        .filter(|name| !expected.iter().any(|(known, ..)| known == *name) && !waits.contains(name))
        .collect();
    assert!(others.is_empty(), "{others:?}");
    assert_eq!(fake.runs(), 1);
}

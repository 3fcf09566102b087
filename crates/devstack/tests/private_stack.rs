//! A private stack on the real artefacts: started, attached to, broken, found by the next runner, removed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of the test fails the test"
)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use devstack::process::Identity;
use devstack::state::State;
use devstack::{Say, Stack, StackError, StackOptions, Stop};

fn options(name: &str) -> StackOptions {
    let dir: PathBuf =
        devstack::place::target().join(format!("dev-test-{name}-{}", std::process::id()));
    StackOptions {
        say: Say::new(|line| println!("{line}")),
        ..StackOptions::private(dir)
    }
}

fn processes(dir: &std::path::Path) -> Vec<Identity> {
    State::read(dir)
        .unwrap()
        .unwrap()
        .parts
        .into_values()
        .filter_map(|part| part.process)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_breaks_comes_back_and_leaves_nothing() {
    let options = options("lifecycle");
    let dir = options.dir.clone();
    let begin = Instant::now();
    let stack = Stack::start(options.clone()).await.unwrap();
    println!("ready after {:.1} s", begin.elapsed().as_secs_f64());

    // A second start in the same folder finds the first one.
    let second = Stack::start(options.clone()).await.unwrap_err();
    assert!(matches!(second, StackError::Running { .. }), "{second}");

    // Whoever knows the record controls it.
    let other = Stack::attach(&stack.state_file()).unwrap();
    other.stop_kafka(Stop::Kill).await.unwrap();
    stack.check().expect("stopped on purpose is not a crash");
    other.start_kafka().await.unwrap();
    other.stop_kafka(Stop::Ask).await.unwrap();
    other.start_kafka().await.unwrap();

    // A part that ends by itself is named, with what it said last.
    let broker = State::read(&dir).unwrap().unwrap().parts["kafka"]
        .process
        .clone()
        .unwrap();
    broker.signal(nix::sys::signal::Signal::SIGKILL);
    assert!(broker.gone_within(Duration::from_secs(5)).await);
    let crash = stack.check().unwrap_err();
    assert!(
        matches!(&crash, StackError::Crashed { part, .. } if part == "kafka"),
        "{crash}"
    );
    assert!(crash.to_string().contains("kafka.log"), "{crash}");
    assert!(
        crash.to_string().contains("Kafka Server started"),
        "the log's tail: {crash}"
    );

    // The runner is killed: nobody ends the rest, and the next start does.
    let left = processes(&dir);
    std::mem::forget(stack);
    State::change(&dir, |state| {
        state.runner.as_mut().unwrap().started.push('0')
    })
    .unwrap();
    let again = Stack::start(options).await.unwrap();
    assert!(
        left.iter().all(|process| !process.is_alive()),
        "the next start ends what was left"
    );
    let running = processes(&dir);
    assert_eq!(running.len(), 3);
    again.remove().await.unwrap();
    assert!(running.iter().all(|process| !process.is_alive()));
    assert!(!dir.exists());
}
